import { type Engine, type Feeds, GraphBuilder, type HostTensor, type Model, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { type Float16Options, float16 } from './float16.js';

const engine: Engine = nodeEngine();
afterAll(() => engine.close());

const EXACT = { optimization: 'disabled' } as const;

/**
 * ONNX Runtime's CPU provider computes float16 in float32 and skips the rounding between two such kernels. Two
 * Identities after every float16 value (one alone is moved to float32) make it round, as a GPU does.
 */
function rounding(model: Model): Model {
  const copy = model.clone();
  for (const graph of copy.graph.graphs()) {
    for (const node of [...graph.nodes()]) {
      for (const value of node.outputs) {
        if (value?.dtype !== 'float16' || value.isGraphOutput) continue;
        const uses = [...value.uses];
        const first = graph.addNode('Identity', [value], { before: node._next });
        const rounded = graph.addNode('Identity', [first.output], { before: first._next });
        for (const use of uses) use.node.setInput(use.index, rounded.output);
      }
    }
  }
  return copy;
}

const operators = (model: Model): string[] => [...model.allNodes()].map((node) => node.opType);
const casts = (model: Model): number => operators(model).filter((op) => op === 'Cast').length;
const constants = (model: Model, dtype: string): number =>
  [...model.graph.initializers].filter((v) => v.initializer?.dtype === dtype).length;

interface Converted {
  readonly db: number;
  readonly model: Model;
  readonly notes: string;
  readonly outputs: Record<string, HostTensor>;
}

/** The float16 model against the float32 one, as ONNX Runtime answers. `measure` gives it the feeds as samples. */
async function converted(
  model: Model,
  feeds: Feeds,
  options: Float16Options & { measure?: boolean } = {},
): Promise<Converted> {
  const before = await runModel(engine, model, feeds, EXACT);
  const copy = model.clone();
  const { measure, ...rest } = options;
  const [result] = await copy.transform(float16(measure ? { ...rest, samples: [feeds] } : rest), { engine });
  const outputs = await runModel(engine, rounding(copy), feeds, EXACT);
  const db = Math.min(
    ...Object.entries(before)
      .filter(([, tensor]) => tensor.dtype === 'float32')
      .map(([name, tensor]) => sqnr(tensor, outputs[name])),
  );
  return { db, model: copy, notes: result?.notes.join('\n') ?? '', outputs };
}

/** Conv -> BatchNormalization -> Relu -> GlobalAveragePool -> Flatten -> Gemm. */
function network(): Model {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['n', 3, 12, 12]);
  const ones = Tensor.of('float32', [8], new Float32Array(8).fill(1));
  let y = b.op('Conv', [x, b.random([8, 3, 3, 3]), b.random([8])], { pads: [1, 1, 1, 1] });
  y = b.op('BatchNormalization', [y, ones, b.random([8]), b.random([8]), ones]);
  y = b.op('Flatten', [b.op('GlobalAveragePool', [b.op('Relu', [y])])]);
  return b.output('y', b.op('Gemm', [y, b.random([8, 5]), b.random([5])]), 'float32', ['n', 5]).model();
}

describe('float16', () => {
  it('halves a network and casts at its borders only', async () => {
    const { db, model } = await converted(network(), { x: normal([2, 3, 12, 12]) });
    expect(db).toBeGreaterThan(55);
    expect(casts(model)).toBe(2);
    expect(constants(model, 'float32')).toBe(0);
    expect(model.graph.inputs[0]?.dtype).toBe('float32');
    expect(model.graph.outputs.map((v) => [v.name, v.dtype])).toEqual([['y', 'float32']]);
  });

  it('can change inputs and outputs too', async () => {
    const model = network();
    await model.transform(float16({ keepIo: false }));
    expect(casts(model)).toBe(0);
    const session = await engine.open(model);
    expect(session.inputs.map((p) => p.dtype)).toEqual(['float16']);
    expect(session.outputs.map((p) => p.dtype)).toEqual(['float16']);
    await session.close();
  });

  it('leaves a chain alone that would need more casts than it saves', async () => {
    const b = new GraphBuilder();
    const y = b.op('Tanh', [b.op('Relu', [b.input('x', 'float32', [4, 4])])]);
    const { model } = await converted(b.output('y', y, 'float32', [4, 4]).model(), { x: normal([4, 4]) });
    expect(operators(model)).toEqual(['Relu', 'Tanh']);
  });

  it('keeps in float32 what the samples show to overflow, and only that', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const big = b.op('MatMul', [b.op('MatMul', [x, b.random([32, 32])]), b.random([32, 32], { scale: 1.2e4 })]);
    const small = b.op('Mul', [big, Tensor.of('float32', [], [1e-5])]);
    b.output('y', b.op('MatMul', [small, b.random([32, 8])]), 'float32', [4, 8]);
    const blind = await converted(b.model(), { x: normal([4, 32]) });
    expect(blind.outputs.y?.data as Float32Array).toSatisfy((v: Float32Array) => v.some((e) => !Number.isFinite(e)));
    expect(blind.notes).toMatch(/No ranges were measured/);
    const { db, model, notes } = await converted(b.model(), { x: normal([4, 32]) }, { measure: true });
    expect(db).toBeGreaterThan(50);
    expect(notes).toMatch(/stays float32: it reaches/);
    // x down, up before the big product, down after it, y up.
    expect(casts(model)).toBe(4);
    expect(constants(model, 'float16')).toBe(2);
  });
});

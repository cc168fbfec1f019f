import { GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient } from '../../test/check-gradient.js';
import { gradient } from './gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** loss = mean of tanh(x w1 + b1) w2, with w1, b1, w2 as float64 initializers. */
function network(): Model {
  const b = new GraphBuilder();
  const parameter = (name: string, dims: readonly number[]): Value => {
    const size = dims.reduce((product, d) => product * d, 1);
    return b.constant(
      Tensor.of(
        'float64',
        dims,
        Array.from({ length: size }, (_, i) => Math.sin(i + 1)),
      ),
      name,
    );
  };
  const x = b.input('x', 'float64', ['n', 3]);
  const hidden = b.op('Tanh', [b.op('Add', [b.op('MatMul', [x, parameter('w1', [3, 4])]), parameter('b1', [4])])]);
  const y = b.op('MatMul', [hidden, parameter('w2', [4, 2])]);
  return b.output('loss', b.op('ReduceMean', [y], { keepdims: 0 }), 'float64', []).model();
}

const operators = (model: Model): string[] => [...model.graph.nodes()].map((node) => node.opType);

describe('gradient', () => {
  it('keeps the outputs and adds the gradients; what is trained becomes an input', async () => {
    const model = network();
    const before = operators(model);
    const result = await gradient(model, { loss: 'loss', wrt: ['w1', 'w2'], dims: { n: 5 } });
    expect(result.graph.inputs.map((input) => input.name)).toEqual(['x', 'w1', 'w2']);
    expect(result.graph.outputs.map((output) => output.name)).toEqual(['loss', 'd/w1', 'd/w2']);
    expect(result.graph.outputs.map((output) => output.shape)).toEqual([[], [3, 4], [4, 2]]);
    expect(operators(model)).toEqual(before);
  });

  it('agrees with differences by inputs that feed several nodes, and the same node twice', async () => {
    const b = new GraphBuilder();
    const [x, w] = [b.input('x', 'float64', [3, 3]), b.input('w', 'float64', [3, 3])];
    const h = b.op('Tanh', [b.op('MatMul', [x, w])]);
    const y = b.op('MatMul', [b.op('Mul', [h, h]), b.op('Transpose', [w])]);
    await checkGradient(
      engine,
      b
        .output('y', b.op('Add', [y, x]))
        .output('h', h)
        .model(),
    );
  });

  it('builds nothing below the lowest trained parameter', async () => {
    const added = async (wrt: string[]): Promise<string[]> =>
      operators(await gradient(network(), { loss: 'loss', wrt, dims: { n: 5 } })).slice(operators(network()).length);
    // The derivative 1 - y^2 of Tanh.
    expect(await added(['b1'])).toContain('Sub');
    expect(await added(['w2'])).not.toContain('Sub');
  });

  it('leaves alone what the loss does not depend on, with a rule or without', async () => {
    const model = network();
    const { graph } = model;
    const h = [...graph.nodes()].find((node) => node.is('Tanh'))?.output ?? null;
    const square = graph.addNode('MatMul', [graph.addNode('Transpose', [h]).output, h]).output;
    graph.addOutput(graph.addNode('Det', [square]).output);
    const result = await gradient(model, { loss: 'loss', wrt: ['w1'], dims: { n: 5 } });
    expect(result.graph.outputs.at(-1)?.name).toBe('d/w1');
  });

  it('upgrades older models', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float64', [2, 3]);
    const y = b.op('Unsqueeze', [b.op('ReduceSum', [b.op('Exp', [x])], { axes: [1], keepdims: 0 })], { axes: [0] });
    await checkGradient(engine, b.output('y', y).model({ opset: 9 }));
  });
});

describe('what cannot be differentiated is said', () => {
  const refusal = (model: Model, options: Partial<Parameters<typeof gradient>[1]>): Promise<Model> =>
    gradient(model, { loss: 'loss', wrt: ['w1'], dims: { n: 5 }, ...options });

  it('a loss that is not there, or no number', async () => {
    await expect(refusal(network(), { loss: 'los' })).rejects.toThrow(/no output "los".* it has "loss"/);
    const b = new GraphBuilder();
    const model = b.output('loss', b.op('Exp', [b.input('w1', 'float32', [2])])).model();
    await expect(refusal(model, {})).rejects.toThrow(/"loss" is float32\[2\]; it must be one float number/);
  });

  it('a parameter that is not there, is no float, or does not matter', async () => {
    await expect(refusal(network(), { wrt: ['w3'] })).rejects.toThrow(/no initializer or input "w3"/);
    const model = network();
    model.graph.addInput('ids', { kind: 'tensor', dtype: 'int64', shape: [2] });
    model.graph.addInput('unused', { kind: 'tensor', dtype: 'float32', shape: [2] });
    await expect(refusal(model, { wrt: ['ids'] })).rejects.toThrow(/"ids" is int64/);
    await expect(refusal(model, { wrt: ['unused'] })).rejects.toThrow(/"loss" does not depend on "unused"/);
  });

  it('a length that is not known', async () => {
    await expect(refusal(network(), { dims: {}, wrt: ['b1'] })).rejects.toThrow(
      /\[n, .*give each named dimension a number/,
    );
  });

  it('an operator without a rule, by its name and the way around', async () => {
    const b = new GraphBuilder();
    const det = b.node('Det', [b.input('w1', 'float32', [2, 2])], {}, { name: 'volume' }).output;
    const model = b.output('loss', det, 'float32', []).model();
    await expect(refusal(model, {})).rejects.toThrow(
      /Det "volume" has no gradient rule .*"w1".*freeze .* cut the model/,
    );
  });
});

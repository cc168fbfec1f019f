import {
  type Feeds,
  type Graph,
  GraphBuilder,
  type Model,
  parseModel,
  serializeModel,
  Tensor,
  tensorType,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { kernels } from '../kernels/index.js';
import { quantizeStatic } from '../quantize/static.js';
import { quantizeWeights } from '../quantize/weight-only.js';
import { type SparsityOptions, sparsityMasks } from './masks.js';
import { pruneWeights } from './prune-weights.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** A network with a weight of each kind, by name of the weight. */
function network(seed = 1): Model {
  const b = new GraphBuilder({ seed });
  const x = b.input('x', 'float32', ['n', 4, 6, 6]);
  const weight = (name: string, dims: readonly number[], scale?: number) =>
    b.random(dims, { name, ...(scale && { scale }) });
  const conv = b.node('Conv', [x, weight('conv', [8, 4, 3, 3])], { pads: [1, 1, 1, 1] }, { name: 'first' }).output;
  const grouped = b.op('Conv', [b.op('Relu', [conv]), weight('grouped', [16, 4, 1, 1])], { group: 2 });
  const up = b.op('ConvTranspose', [b.op('Relu', [grouped]), weight('up', [16, 2, 2, 2])], {
    group: 2,
    strides: [2, 2],
  });
  const flat = b.op('Flatten', [b.op('GlobalAveragePool', [up])]);
  const gemm = b.op('Gemm', [flat, weight('gemm', [12, 4], 0.02), b.random([12])], { transB: 1 });
  const last = b.node('MatMul', [b.op('Relu', [gemm]), weight('matmul', [12, 3])], {}, { name: 'last' }).output;
  return b.output('y', last, 'float32', ['n', 3]).model({ opset: 17 });
}

const NAMES = ['conv', 'grouped', 'up', 'gemm', 'matmul'] as const;
const feeds = (seed: number): Feeds => ({ x: normal([2, 4, 6, 6], seed) });

async function weightsOf(model: Model): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>();
  for (const value of model.graph.initializers) {
    if (value.initializer?.dtype === 'float32') {
      weights.set(value.name, ((await value.initializer.toArray()) as Float32Array).slice());
    }
  }
  return weights;
}

/** The smallest `count` of all scores become 0, equal ones in order: by sorting them all. */
function zeroLowest(weights: Map<string, Float32Array>, scores: Map<string, ArrayLike<number>>, count: number): void {
  const all = [...scores].flatMap(([name, s], layer) => Array.from(s, (score, i) => ({ name, layer, i, score })));
  all.sort((a, b) => a.score - b.score || a.layer - b.layer || a.i - b.i);
  for (const { name, i } of all.slice(0, count)) weights.get(name)![i] = 0;
}

const zeros = (values: ArrayLike<number>): number => Array.from(values).filter((v) => v === 0).length;
const sizes = (weights: Map<string, Float32Array>): number => NAMES.reduce((sum, n) => sum + weights.get(n)!.length, 0);
const pruned = async (options: SparsityOptions, model = network()): Promise<Map<string, Float32Array>> => {
  await model.transform(pruneWeights(options), { engine });
  return weightsOf(await parseModel(await serializeModel(model).file.bytes()));
};

describe('pruneWeights by magnitude', () => {
  it.each([0, 0.1, 0.5, 0.8, 0.95, 0.999])(
    'takes the smallest of the whole model when global: sparsity %f',
    async (sparsity) => {
      const expected = await weightsOf(network());
      const scores = new Map(NAMES.map((name) => [name, expected.get(name)!.map(Math.abs)]));
      zeroLowest(expected, scores, Math.round(sparsity * sizes(expected)));
      expect(await pruned({ sparsity, distribution: 'global' })).toEqual(expected);
    },
  );

  it('takes the same share of each layer when uniform', async () => {
    const expected = await weightsOf(network());
    for (const name of NAMES) {
      const weight = expected.get(name)!;
      zeroLowest(expected, new Map([[name, weight.map(Math.abs)]]), weight.length / 2);
    }
    expect(await pruned({ sparsity: 0.5, distribution: 'uniform' })).toEqual(expected);
  });

  it('is exact also where weights are equal, and takes the first of them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.constantFrom(-1, 0, 0.5, 1), { minLength: 2, maxLength: 12 }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.constantFrom('lamp' as const, 'global' as const, 'uniform' as const, 'erk' as const),
        async (rows, sparsity, distribution) => {
          const b = new GraphBuilder();
          rows.forEach((row, i) => {
            const x = b.input(`x${i}`, 'float32', ['n', row.length]);
            const weight = b.constant(Tensor.of('float32', [row.length, 1], row), `w${i}`);
            b.output(`y${i}`, b.op('MatMul', [x, weight]));
          });
          const masks = await sparsityMasks(b.model(), { sparsity, distribution });
          const flat = rows.flat();
          const mask = [...masks.values()].flatMap((m) => [...m]);
          expect(mask.filter((kept) => kept === 0)).toHaveLength(Math.round(sparsity * flat.length));
          if (distribution !== 'global') return;
          const order = flat.map((v, i) => ({ score: Math.abs(v), i })).sort((p, q) => p.score - q.score || p.i - q.i);
          const gone = new Set(order.slice(0, Math.round(sparsity * flat.length)).map(({ i }) => i));
          expect(mask).toEqual(flat.map((_, i) => (gone.has(i) ? 0 : 1)));
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  it.each([0.3, 0.8])('takes the smallest by LAMP unless told otherwise: sparsity %f', async (sparsity) => {
    const expected = await weightsOf(network());
    // w_u^2 / sum of w_v^2 over all v with |w_v| >= |w_u|, as the paper has it.
    const scores = new Map(
      NAMES.map((name) => {
        const squares = [...expected.get(name)!].map((w) => w ** 2);
        return [name, squares.map((s) => s / squares.filter((other) => other >= s).reduce((a, v) => a + v, 0))];
      }),
    );
    zeroLowest(expected, scores, Math.round(sparsity * sizes(expected)));
    const after = await pruned({ sparsity });
    expect(after).toEqual(expected);
    // The weights of "gemm" are a tenth of the others in size, which does not count.
    expect(zeros(after.get('gemm')!)).toBeLessThan(sparsity * 48);
    expect(zeros((await pruned({ sparsity, distribution: 'global' })).get('gemm')!)).toBeGreaterThan(40);
  });

  it('spreads by Erdős–Rényi-kernel: density in proportion to the sum of the dimensions over their product', async () => {
    const before = await weightsOf(network());
    const after = await pruned({ sparsity: 0.6, distribution: 'erk' });
    expect(NAMES.reduce((sum, n) => sum + zeros(after.get(n)!), 0)).toBe(Math.round(0.6 * sizes(before)));
    const dims = { conv: [8, 4, 3, 3], grouped: [16, 4, 1, 1], up: [16, 2, 2, 2], gemm: [12, 4], matmul: [12, 3] };
    const scales = NAMES.flatMap((name) => {
      const size = before.get(name)!.length;
      const kept = size - zeros(after.get(name)!);
      return kept === size ? [] : [kept / dims[name].reduce((a, d) => a + d, 0)];
    });
    expect(scales.length).toBeGreaterThan(1);
    // Whole weights only: one more or less of about twenty.
    expect(Math.max(...scales) / Math.min(...scales)).toBeLessThan(1.1);
    // The thin ones would need more than they have.
    expect(zeros(after.get('matmul')!)).toBeLessThan(zeros(after.get('conv')!));
  });

  it('changes the file as it says, and ONNX Runtime answers as with the same zeros written by hand', async () => {
    const byHand = network();
    const expected = await weightsOf(byHand);
    const scores = new Map(NAMES.map((name) => [name, expected.get(name)!.map(Math.abs)]));
    zeroLowest(expected, scores, Math.round(0.7 * sizes(expected)));
    for (const value of byHand.graph.initializers) {
      const { initializer } = value;
      if (initializer?.dtype === 'float32') {
        byHand.graph.setInitializer(value, Tensor.of('float32', initializer.dims, expected.get(value.name)!));
      }
    }
    const model = network();
    const [result] = await model.transform(pruneWeights({ sparsity: 0.7, distribution: 'global' }));
    expect(result?.changed).toBe(5);
    expect(result?.notes[0]).toMatch(/^Conv "first": \d+\.\d % of its 288 weights are pruned\.$/);
    expect(result?.notes.at(-1)).toBe(
      `${Math.round(0.7 * sizes(expected))} of ${sizes(expected)} weights are pruned, 70.0 %.`,
    );
    expect(await runModel(engine, model, feeds(3))).toEqual(await runModel(engine, byHand, feeds(3)));
  });

  it('goes on from what is pruned already: masks contain each other', async () => {
    const model = network();
    const masks: Map<string, Uint8Array>[] = [];
    for (const sparsity of [0.3, 0.6, 0.9]) {
      const gradients = new Map([...(await weightsOf(model))].map(([name, w]) => [name, w.map((_, i) => i % 3)]));
      masks.push(await sparsityMasks(model, { sparsity, score: 'taylor', gradients }));
      await model.transform(pruneWeights({ sparsity, score: 'taylor', gradients }));
    }
    const [few, more, most] = masks;
    for (const name of NAMES) {
      expect(few!.get(name)!.every((kept, i) => kept || !more!.get(name)![i])).toBe(true);
      expect(more!.get(name)!.every((kept, i) => kept || !most!.get(name)![i])).toBe(true);
    }
  });
});

describe('pruneWeights by Taylor', () => {
  it('takes the smallest |g w|', async () => {
    const expected = await weightsOf(network());
    const gradients = new Map(
      NAMES.map((name, k) => [name, normal([expected.get(name)!.length], k + 5).data as Float32Array]),
    );
    const scores = new Map(
      NAMES.map((name) => [name, expected.get(name)!.map((w, i) => Math.abs(w) * Math.abs(gradients.get(name)![i]!))]),
    );
    zeroLowest(expected, scores, Math.round(0.5 * sizes(expected)));
    expect(await pruned({ sparsity: 0.5, score: 'taylor', gradients })).toEqual(expected);
  });

  it('refuses gradients that are missing, of another size, or not finite', async () => {
    const gradients = new Map<string, Float32Array>(
      [...(await weightsOf(network()))].map(([name, w]) => [name, new Float32Array(w.length)]),
    );
    const attempt = (g: Map<string, Float32Array>) => pruned({ sparsity: 0.5, score: 'taylor', gradients: g });
    await expect(attempt(new Map([...gradients].slice(1)))).rejects.toThrow('The gradient of weight "conv" is missing');
    await expect(attempt(new Map(gradients).set('gemm', new Float32Array(7)))).rejects.toThrow(
      'The gradient of weight "gemm" has 7 elements instead of 48',
    );
    await expect(attempt(new Map(gradients).set('up', new Float32Array(128).fill(Number.NaN)))).rejects.toThrow(
      'The gradient of weight "up" is not finite at element 0',
    );
    await expect(pruned({ sparsity: 0.5, score: 'taylor' })).rejects.toThrow('give gradients');
  });
});

describe('pruneWeights by Wanda', () => {
  const samples = [feeds(1), feeds(2), feeds(3)];

  /** The activations that each weight multiplies, fetched from the runtime as they are. */
  async function activations(): Promise<Map<string, { data: Float32Array; dims: readonly number[] }[]>> {
    const model = network();
    const readers = new Map<string, string>();
    for (const node of model.graph.nodes()) {
      const [x, w] = node.inputs;
      if (w && (NAMES as readonly string[]).includes(w.name)) readers.set(w.name, x!.name);
    }
    for (const name of readers.values()) {
      const value = model.graph.value(name)!;
      value.type ??= tensorType('float32');
      if (!value.isGraphInput) model.graph.addOutput(value);
    }
    const all = new Map<string, { data: Float32Array; dims: readonly number[] }[]>();
    for (const sample of samples) {
      const outputs = { ...(await runModel(engine, model, sample)), ...sample };
      for (const [weight, activation] of readers) {
        const { data, dims } = outputs[activation]!;
        all.set(weight, [...(all.get(weight) ?? []), { data: data as Float32Array, dims }]);
      }
    }
    return all;
  }

  /** Length of each channel (axis 1), term by term. */
  function lengths(tensors: readonly { data: Float32Array; dims: readonly number[] }[]): number[] {
    const channels = tensors[0]!.dims[1]!;
    const sums = new Array<number>(channels).fill(0);
    for (const { data, dims } of tensors) {
      const inner = dims.slice(2).reduce((a, d) => a * d, 1);
      data.forEach((v, i) => {
        sums[Math.floor(i / inner) % channels]! += v * v;
      });
    }
    return sums.map(Math.sqrt);
  }

  it('compares |w| times the length of its input inside each output', async () => {
    const model = network();
    const norms = new Map([...(await activations())].map(([name, tensors]) => [name, lengths(tensors)]));
    const weights = await weightsOf(model);
    const options = { sparsity: 0.5, score: 'wanda', samples, distribution: 'uniform' } as const;
    const masks = await sparsityMasks(model, options, { engine });
    // Element of (output, input, position), from the layouts in the operators' specification, and the input it multiplies.
    const layouts: Record<string, { rows: number; of: (row: number) => { at: number; input: number }[] }> = {
      conv: { rows: 8, of: (o) => range(36).map((k) => ({ at: o * 36 + k, input: Math.floor(k / 9) })) },
      grouped: { rows: 16, of: (o) => range(4).map((i) => ({ at: o * 4 + i, input: Math.floor(o / 8) * 4 + i })) },
      up: {
        rows: 4,
        of: (o) =>
          range(8).flatMap((i) => {
            const input = Math.floor(o / 2) * 8 + i;
            return range(4).map((p) => ({ at: (input * 2 + (o % 2)) * 4 + p, input }));
          }),
      },
      gemm: { rows: 12, of: (o) => range(4).map((i) => ({ at: o * 4 + i, input: i })) },
      matmul: { rows: 3, of: (o) => range(12).map((i) => ({ at: i * 3 + o, input: i })) },
    };
    for (const [name, { rows, of }] of Object.entries(layouts)) {
      for (const row of range(rows)) {
        const scored = of(row).map(({ at, input }) => ({
          at,
          score: Math.abs(weights.get(name)![at]!) * norms.get(name)![input]!,
        }));
        scored.sort((a, b) => a.score - b.score);
        const gone = scored.slice(0, scored.length / 2).map(({ at }) => at);
        expect(
          of(row)
            .filter(({ at }) => masks.get(name)![at] === 0)
            .map(({ at }) => at)
            .sort(),
          name,
        ).toEqual(gone.sort());
      }
    }
  });

  it('does better than magnitude where inputs differ in size', async () => {
    const b = new GraphBuilder({ seed: 4 });
    const x = b.input('x', 'float32', ['n', 64]);
    const model = b.output('y', b.op('MatMul', [x, b.random([64, 32])]), 'float32', ['n', 32]).model();
    const uneven = (seed: number): Feeds => {
      const { data, ...rest } = normal([8, 64], seed);
      return { x: { ...rest, data: (data as Float32Array).map((v, i) => v * 1.1 ** (i % 64)) } };
    };
    const truth = await runModel(engine, model, uneven(9));
    const quality = async (options: SparsityOptions): Promise<number> => {
      const copy = model.clone();
      await copy.transform(pruneWeights({ ...options, sparsity: 0.5 }), { engine });
      return sqnr(truth.y, (await runModel(engine, copy, uneven(9))).y);
    };
    const wanda = await quality({ score: 'wanda', samples: [uneven(1), uneven(2)] });
    expect(wanda).toBeGreaterThan((await quality({ distribution: 'uniform' })) + 6);
  });

  it('also scores Gemm with a transposed input, float16, and opset 18', async () => {
    const b = new GraphBuilder({ seed: 4 });
    const x = b.input('x', 'float16', [4, 6]);
    const half = (v: ArrayLike<number>): Uint16Array => kernels().toFloat16(Float32Array.from(v));
    const weight = b.constant(Tensor.of('float16', [4, 2], half([1, 1, 2, 2, 3, 3, 4, 4])), 'w');
    const model = b.output('y', b.op('Gemm', [x, weight], { transA: 1 }), 'float16', [6, 2]).model({ opset: 18 });
    // Rows of x are the inputs. Squares of 300 overflow in float16.
    const rows = [300, 100, 30, 10].flatMap((v) => new Array<number>(6).fill(v));
    const samples = [{ x: { dtype: 'float16' as const, dims: [4, 6], data: half(rows) } }];
    await model.transform(pruneWeights({ sparsity: 0.5, score: 'wanda', samples }), { engine });
    const [value] = [...model.graph.initializers];
    expect([...kernels().fromFloat16(await value!.initializer!.load())]).toEqual([1, 1, 2, 2, 0, 0, 0, 0]);
  });

  it('needs an engine, samples, and activations that are finite', async () => {
    const wanda = { sparsity: 0.5, score: 'wanda' } as const;
    await expect(network().transform(pruneWeights({ ...wanda, samples }))).rejects.toThrow('give an engine');
    await expect(pruned(wanda)).rejects.toThrow('give samples');
    await expect(pruned({ ...wanda, samples: [] })).rejects.toMatchObject({ code: 'bad-data' });
    await expect(pruned({ ...wanda, samples, distribution: 'global' })).rejects.toMatchObject({ code: 'bad-option' });
    const bad = { x: { ...normal([2, 4, 6, 6]), data: new Float32Array(288).fill(Number.NaN) } };
    await expect(pruned({ ...wanda, samples: [bad] })).rejects.toThrow(/^Activation "x" holds NaN or infinity/);
  });
});

describe('N:M patterns', () => {
  const range4 = (n: number, m: number) => ({ n, m });
  it.each([range4(2, 4), range4(1, 4), range4(3, 4), range4(1, 2)])(
    'keeps the $n largest of each $m inputs',
    async ({ n, m }) => {
      const weights = await weightsOf(network());
      const masks = await sparsityMasks(network(), { pattern: `${n}:${m}` });
      // [outputs][positions][inputs] as elements of the tensor, from the specification of each operator.
      const blocks: Record<string, number[][]> = {
        conv: range(8).flatMap((o) => range(9).map((p) => range(4).map((i) => (o * 4 + i) * 9 + p))),
        grouped: range(16).map((o) => range(4).map((i) => o * 4 + i)),
        up: range(2).flatMap((g) =>
          range(2).flatMap((o) => range(4).map((p) => range(8).map((i) => ((g * 8 + i) * 2 + o) * 4 + p))),
        ),
        gemm: range(12).map((o) => range(4).map((i) => o * 4 + i)),
        matmul: range(3).map((o) => range(12).map((i) => i * 3 + o)),
      };
      expect([...masks.keys()]).toEqual([...NAMES]);
      for (const [name, rows] of Object.entries(blocks)) {
        for (const row of rows) {
          for (let start = 0; start < row.length; start += m) {
            const block = row.slice(start, start + m);
            const largest = [...block]
              .sort((a, b) => Math.abs(weights.get(name)![b]!) - Math.abs(weights.get(name)![a]!))
              .slice(0, n);
            expect(
              block.filter((at) => masks.get(name)![at] === 1),
              name,
            ).toEqual(largest.sort((a, b) => a - b));
          }
        }
      }
    },
  );

  it('leaves layers dense whose inputs do not divide, and says so', async () => {
    const model = network();
    const [result] = await model.transform(pruneWeights({ pattern: '4:8' }));
    expect(result?.changed).toBe(1);
    expect(result?.notes).toContain('Conv "first" stays dense: its 4 inputs are no multiple of 8.');
    expect(zeros((await weightsOf(model)).get('up')!)).toBe(64);
  });

  it('refuses what is no pattern, and a pattern with a sparsity', async () => {
    await expect(pruned({ pattern: '4:4' })).rejects.toThrow('"4:4" is no pattern');
    await expect(pruned({ pattern: '2:4', sparsity: 0.5 })).rejects.toMatchObject({ code: 'bad-option' });
    await expect(pruned({ pattern: '2:4', distribution: 'erk' })).rejects.toMatchObject({ code: 'bad-option' });
    await expect(pruned({})).rejects.toMatchObject({ code: 'bad-option' });
    await expect(pruned({ sparsity: 1 })).rejects.toThrow('below 1');
  });
});

describe('which weights', () => {
  it('follows include and exclude, and keeps the first and the last layer when asked', async () => {
    const names = async (options: Omit<SparsityOptions, 'sparsity'>): Promise<string[]> => [
      ...(await sparsityMasks(network(), { ...options, sparsity: 0.5 })).keys(),
    ];
    expect(await names({ include: ['Conv'] })).toEqual(['conv', 'grouped']);
    expect(await names({ exclude: ['Conv', /^last$/] })).toEqual(['up', 'gemm']);
    expect(await names({ keep: 'first' })).toEqual(['grouped', 'up', 'gemm', 'matmul']);
    expect(await names({ keep: 'last' })).toEqual(['conv', 'grouped', 'up', 'gemm']);
    expect(await names({ keep: 'both' })).toEqual(['grouped', 'up', 'gemm']);
  });

  it('takes weights in Constant nodes, behind Transpose and in subgraphs; a tied one once', async () => {
    const b = new GraphBuilder({ seed: 2 });
    const x = b.input('x', 'float32', ['n', 4]);
    const condition = b.input('condition', 'bool', []);
    const inConstant = b.op('Constant', [], { value: Tensor.of('float32', [4, 4], range(16)) });
    const tied = b.random([4, 4], { name: 'tied' });
    const first = b.op('MatMul', [b.op('MatMul', [x, inConstant]), tied]);
    const second = b.op('MatMul', [first, tied]);
    const turned = b.op('MatMul', [second, b.op('Transpose', [b.random([4, 4], { name: 'turned' })])]);
    const branch = (name: string): Graph => {
      const inner = new GraphBuilder({ name, outer: b, seed: 9 });
      return inner.output(`${name}_y`, inner.op('MatMul', [turned, inner.random([4, 4], { name })]), 'float32').graph;
    };
    const y = b.op('If', [condition], { then_branch: branch('yes'), else_branch: branch('no') });
    const model = b.output('y', y, 'float32', ['n', 4]).model();
    const masks = await sparsityMasks(model, { sparsity: 0.5, distribution: 'uniform' });
    expect([...masks.keys()]).toEqual([inConstant.name, 'tied', 'turned', 'yes', 'no']);
    await model.transform(pruneWeights({ sparsity: 0.5, distribution: 'uniform' }));
    expect(zeros((await inConstant.constant!.toArray()) as Float32Array)).toBe(8);
    const inputs = { x: normal([2, 4]), condition: { dtype: 'bool' as const, dims: [], data: Uint8Array.of(1) } };
    expect((await runModel(engine, model, inputs)).y!.data.length).toBe(8);
    // Inputs of a subgraph are not measured.
    const seen = await sparsityMasks(model, { sparsity: 0.5, score: 'wanda', samples: [inputs] }, { engine });
    expect([...seen.keys()]).toEqual([inConstant.name, 'tied', 'turned']);
  });

  it('leaves a weight dense that others read too', async () => {
    const b = new GraphBuilder({ seed: 2 });
    const ids = b.input('ids', 'int64', ['n']);
    const table = b.random([10, 4], { name: 'table' });
    const logits = b.op('MatMul', [b.op('Gather', [table, ids]), b.op('Transpose', [table])]);
    const model = b.output('y', logits, 'float32', ['n', 10]).model();
    const [result] = await model.transform(pruneWeights({ sparsity: 0.5 }));
    expect(result?.changed).toBe(0);
    expect(result?.notes.join('\n')).toMatch(/stays dense: Gather ".*" reads its weight too\./);
  });

  it('prunes float16 as it is', async () => {
    const b = new GraphBuilder();
    const bits = kernels().toFloat16(Float32Array.of(0.5, -3, 2, -0.25, 4, 1));
    const x = b.input('x', 'float16', ['n', 6]);
    const model = b.output('y', b.op('MatMul', [x, Tensor.of('float16', [6, 1], bits)])).model();
    await model.transform(pruneWeights({ sparsity: 0.5 }));
    const [value] = [...model.graph.initializers];
    expect([...kernels().fromFloat16(await value!.initializer!.load())]).toEqual([0, -3, 2, 0, 4, 0]);
  });

  it('refuses NaN and infinity, naming the weight', async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const model = network();
      const value = model.graph.value('gemm')!;
      const values = (await value.initializer!.toArray()) as Float32Array;
      values[5] = bad;
      model.graph.setInitializer(value, Tensor.of('float32', [12, 4], values));
      const message = 'Weight "gemm" of Gemm "Gemm_out" holds NaN or infinity at element 5';
      await expect(model.transform(pruneWeights({ sparsity: 0.5 }))).rejects.toThrow(message);
      await model.transform(pruneWeights({ sparsity: 0.5, distribution: 'uniform' }));
      await expect(serializeModel(model).file.bytes()).rejects.toThrow(message);
    }
  });

  it('says so when there is nothing to prune, and refuses integer models', async () => {
    const b = new GraphBuilder();
    const empty = b.output('y', b.op('Relu', [b.input('x', 'float32', ['n'])])).model();
    const [result] = await empty.transform(pruneWeights({ sparsity: 0.5 }));
    expect(result).toEqual({
      changed: 0,
      notes: ['Nothing to prune: no Conv, ConvTranspose, Gemm or MatMul with a float constant was left in.'],
    });
    const integer = network();
    await integer.transform(quantizeStatic({ samples: [feeds(1)] }), { engine });
    await expect(integer.transform(pruneWeights({ sparsity: 0.5 }))).rejects.toMatchObject({ code: 'unsupported' });
    const blocks = new GraphBuilder();
    const x = blocks.input('x', 'float32', ['n', 64]);
    const packed = blocks.output('y', blocks.op('MatMul', [x, blocks.random([64, 64])])).model();
    await packed.transform(quantizeWeights());
    await expect(packed.transform(pruneWeights({ sparsity: 0.5 }))).rejects.toThrow(
      'integer weights already (com.microsoft.MatMulNBits',
    );
  });
});

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

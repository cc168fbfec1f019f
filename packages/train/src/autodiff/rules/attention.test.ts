import {
  type AttributeLike,
  type DType,
  float,
  GraphBuilder,
  type HostTensor,
  type Model,
  Tensor,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';
import { compareGradients } from '../../../test/compare-gradients.js';

const engine = nodeEngine();
afterAll(() => engine.close());

interface Case {
  readonly queries?: number;
  readonly keys?: number;
  readonly heads?: readonly [queries: number, keys: number];
  /** Size of a head of queries and keys, and of values. */
  readonly sizes?: readonly [number, number];
  readonly packed?: boolean;
  readonly causal?: boolean;
  readonly scale?: number;
  readonly softcap?: number;
  /** A mask that is added. */
  readonly bias?: readonly number[];
  /** A mask of bits, row by row of [Lq, Lk]. */
  readonly bits?: readonly number[];
}

const BATCH = 2;

const defaults = { queries: 3, keys: 4, heads: [2, 2], sizes: [3, 3] } as const;

function shapes(test: Case): Record<string, readonly number[]> {
  const { queries, keys, heads, sizes, packed, bias } = { ...defaults, ...test };
  const dims = (length: number, count: number, size: number): number[] =>
    packed ? [BATCH, length, count * size] : [BATCH, count, length, size];
  return {
    q: dims(queries, heads[0], sizes[0]),
    k: dims(keys, heads[1], sizes[0]),
    v: dims(keys, heads[1], sizes[1]),
    ...(bias ? { bias } : {}),
  };
}

function operator(test: Case, dtype: DType, opset: number): Model {
  const b = new GraphBuilder();
  const { heads, packed, queries, keys, bits } = { ...defaults, ...test };
  const attributes: Record<string, AttributeLike> = {};
  if (packed) Object.assign(attributes, { q_num_heads: heads[0], kv_num_heads: heads[1] });
  if (test.causal) attributes.is_causal = 1;
  if (test.scale) attributes.scale = float(test.scale);
  if (test.softcap) attributes.softcap = float(test.softcap);
  const mask = bits ? Tensor.of('bool', [queries, keys], bits) : null;
  return expression(b, shapes(test), ({ q, k, v, bias }) => b.op('Attention', [q!, k!, v!, bias ?? mask], attributes), {
    dtype,
    opset,
  });
}

function reference(test: Case): Model {
  const b = new GraphBuilder();
  const { queries, keys, heads, sizes, packed, bits } = { ...defaults, ...test };
  const number = (value: number): Tensor => Tensor.of('float64', [], [value]);
  return expression(b, shapes(test), ({ q, k, v, bias }) => {
    const apart = (x: Value, length: number, count: number, size: number): Value => {
      if (!packed) return x;
      return b.op('Transpose', [b.op('Reshape', [x, [BATCH, length, count, size]])], { perm: [0, 2, 1, 3] });
    };
    // Each head of keys and values as often as it is read.
    const repeated = (x: Value, size: number): Value => {
      const wide = b.op('Unsqueeze', [apart(x, keys, heads[1], size), [2]]);
      const all = b.op('Expand', [wide, [BATCH, heads[1], heads[0] / heads[1], keys, size]]);
      return b.op('Reshape', [all, [BATCH, heads[0], keys, size]]);
    };
    const kT = b.op('Transpose', [repeated(k!, sizes[0])], { perm: [0, 1, 3, 2] });
    const scale = Math.fround(test.scale ?? 1 / Math.sqrt(sizes[0]));
    let scores = b.op('Mul', [b.op('MatMul', [apart(q!, queries, heads[0], sizes[0]), kT]), number(scale)]);
    if (test.softcap) {
      const cap = number(Math.fround(test.softcap));
      scores = b.op('Mul', [b.op('Tanh', [b.op('Div', [scores, cap])]), cap]);
    }
    if (bias) scores = b.op('Add', [scores, bias]);
    const cells = Array.from({ length: queries * keys }, (_, i) =>
      (bits?.[i] ?? 1) && !(test.causal && i % keys > Math.floor(i / keys)) ? 1 : 0,
    );
    // exp of what may be seen, by its sum; the sum is 1 where nothing may be.
    const seen = b.op('Mul', [b.op('Exp', [scores]), Tensor.of('float64', [queries, keys], cells)]);
    const blind = Array.from({ length: queries }, (_, i) =>
      cells.slice(i * keys, (i + 1) * keys).includes(1) ? 0 : 1,
    );
    const sums = b.op('ReduceSum', [seen, [3]]);
    const p = b.op('Div', [seen, b.op('Add', [sums, Tensor.of('float64', [queries, 1], blind)])]);
    const y = b.op('MatMul', [p, repeated(v!, sizes[1])]);
    if (!packed) return y;
    const rows = b.op('Transpose', [y], { perm: [0, 2, 1, 3] });
    return b.op('Reshape', [rows, [BATCH, queries, heads[0] * sizes[1]]]);
  });
}

describe('Attention', () => {
  const cases: [string, Case][] = [
    ['by head', {}],
    ['packed', { packed: true }],
    ['of one query', { queries: 1 }],
    ['with values of another size', { sizes: [4, 2] }],
    ['with heads that share keys', { heads: [4, 2] }],
    ['with heads that share keys, packed', { heads: [6, 2], packed: true, sizes: [2, 3] }],
    ['with one head of keys', { heads: [3, 1] }],
    ['causal', { causal: true, queries: 4 }],
    ['causal, of fewer queries than keys', { causal: true, heads: [2, 1] }],
    ['with a scale', { scale: 0.3 }],
    ['with a soft cap', { softcap: 0.8, causal: true }],
    ['with a mask that is added', { bias: [2, 2, 3, 4] }],
    ['with a mask that is added to all', { bias: [3, 4], causal: true, packed: true }],
    ['with a mask by head, shared keys and a soft cap', { bias: [4, 3, 4], heads: [4, 2], softcap: 2 }],
    ['with a mask of bits', { bits: [1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0] }],
    ['with a query that sees nothing', { bits: [1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0] }],
    ['with a mask of bits, causal', { bits: [1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0], causal: true }],
  ];
  it.each(cases)('%s', async (_, test) => {
    await compareGradients(engine, operator(test, 'float32', 23), reference(test));
  });

  it('in float64', async () => {
    // The runtime's own constants are float32 there.
    const model = operator({ heads: [4, 2], softcap: 1.5, bias: [3, 4] }, 'float64', 24);
    await checkGradient(engine, model, { tolerance: 1e-4, step: 1e-3 });
  });

  it('refuses past keys and values', async () => {
    const b = new GraphBuilder();
    const dims = [1, 2, 3, 4];
    const model = expression(
      b,
      { q: dims, k: dims, v: dims, pk: dims, pv: dims },
      ({ q, k, v, pk, pv }) =>
        b.node('Attention', [q!, k!, v!, null, pk!, pv!], {}, { outputs: 3 }).outputs.map((y) => y!),
      { dtype: 'float32', opset: 23 },
    );
    await expect(checkGradient(engine, model)).rejects.toThrow(/past keys and values/);
  });
});

describe('RotaryEmbedding', () => {
  const angles = Float32Array.from({ length: 12 }, (_, i) => i * 0.7);
  const table = (f: (x: number) => number, dims: readonly number[]): Tensor =>
    Tensor.of(
      'float32',
      dims,
      Float32Array.from(
        angles.subarray(
          0,
          dims.reduce((a, b) => a * b, 1),
        ),
        f,
      ),
    );
  const rotated = (
    dims: readonly number[],
    tables: readonly number[],
    attributes: Readonly<Record<string, AttributeLike>>,
    ids: Tensor | null = null,
  ): Model => {
    const b = new GraphBuilder();
    return expression(
      b,
      { x: dims },
      ({ x }) => b.op('RotaryEmbedding', [x!, table(Math.cos, tables), table(Math.sin, tables), ids], attributes),
      { dtype: 'float32', opset: 23 },
    );
  };
  it.each([0, 1])('interleaved %i', async (interleaved) => {
    await checkGradient(engine, rotated([2, 2, 3, 4], [2, 3, 2], { interleaved }));
    await checkGradient(engine, rotated([2, 3, 8], [2, 3, 2], { interleaved, num_heads: 2 }));
    await checkGradient(engine, rotated([2, 2, 3, 6], [2, 3, 2], { interleaved, rotary_embedding_dim: 4 }));
    const ids: HostTensor = { dtype: 'int64', dims: [2, 3], data: BigInt64Array.of(0n, 1n, 2n, 5n, 3n, 1n) };
    const positions = Tensor.of('int64', ids.dims, ids.data as BigInt64Array);
    await checkGradient(engine, rotated([2, 2, 3, 4], [6, 2], { interleaved }, positions));
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelMemory, Kernels } from './kernels.js';
import { referenceMemory } from './reference.js';
import { wasmMemory } from './wasm.js';

const MOST = 128;
const STRIDE = MOST * 4;

/** Floats of all kinds: ordinary, tiny, huge, denormal, zeros of both signs, NaN and infinities. */
const value = fc.oneof(
  { weight: 8, arbitrary: fc.float({ min: -4, max: 4, noNaN: true }) },
  { weight: 2, arbitrary: fc.float({ noNaN: true, noDefaultInfinity: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -0, 1e-45, -1e-39, 3.4e38, Number.NaN, Infinity, -Infinity) },
);
const scalar = fc.oneof(fc.constantFrom(0, 1, 0.9, 0.999, 1e-8), fc.double({ min: 0, max: 2, noNaN: true }));
const arrays = fc.integer({ min: 0, max: MOST / 16 }).chain((blocks) =>
  fc.record({
    n: fc.constant(blocks * 16),
    data: fc.array(fc.array(value, { minLength: blocks * 16, maxLength: blocks * 16 }), { minLength: 4, maxLength: 4 }),
    keep: fc.array(fc.constantFrom(0, 1, 1, 255), { minLength: blocks * 16, maxLength: blocks * 16 }),
    s: fc.array(scalar, { minLength: 10, maxLength: 10 }) as unknown as fc.Arbitrary<Scalars>,
  }),
);
type Scalars = [number, number, number, number, number, number, number, number, number, number];

/** What `use` leaves of the arrays at 0, 1, 2 and 3 strides, as bits (every NaN alike), and what it returns. */
function run(memory: KernelMemory, data: number[][], keep: number[], use: (k: Kernels) => unknown): unknown {
  const floats = new Float32Array(memory.buffer, 0, 4 * MOST);
  floats.fill(7);
  for (const [i, values] of data.entries()) floats.set(values, i * MOST);
  new Uint8Array(memory.buffer).set(keep, 4 * STRIDE);
  const result = use(memory.kernels);
  return { result, bits: Array.from(floats, (v) => (Number.isNaN(v) ? 'NaN' : Object.is(v, -0) ? '-0' : v)) };
}

const CASES: Record<string, (k: Kernels, n: number, s: Scalars) => unknown> = {
  sgd: (k, n, [lr, scale, l2]) => k.sgd(0, STRIDE, n, lr, scale, l2),
  momentum: (k, n, [lr, scale, l2, mu, a, b]) => k.momentum(0, STRIDE, 2 * STRIDE, n, lr, scale, l2, mu, a, b),
  adam: (k, n, [rate, scale, l2, keep, r1, b2, r2, root, eps]) =>
    k.adam(0, STRIDE, 2 * STRIDE, 3 * STRIDE, n, rate, scale, l2, keep, r1, b2, r2, root, eps),
  accumulate: (k, n, [scale]) => k.accumulate(0, STRIDE, n, scale),
  blend: (k, n, [weight]) => k.blend(0, STRIDE, n, weight),
  mask: (k, n) => k.mask(0, 4 * STRIDE, n),
  sumOfSquares: (k, n) => k.sumOfSquares(0, n),
  firstNonFinite: (k, n) => k.firstNonFinite(0, n),
};

describe('kernels in WebAssembly and in TypeScript', () => {
  const wasm = wasmMemory(5 * STRIDE);
  const reference = referenceMemory(5 * STRIDE);

  it.each(Object.entries(CASES))('%s: equal bit for bit', (_name, use) => {
    fc.assert(
      fc.property(arrays, ({ n, data, keep, s }) => {
        const made = run(wasm, data, keep, (k) => use(k, n, s));
        expect(made).toEqual(run(reference, data, keep, (k) => use(k, n, s)));
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it('find the first value that is not finite, wherever it is', () => {
    for (const { buffer, kernels } of [wasm, reference]) {
      const x = new Float32Array(buffer, 0, MOST);
      x.fill(1);
      expect(kernels.firstNonFinite(0, MOST)).toBe(-1);
      for (let i = MOST - 1; i >= 0; i--) {
        x[i] = [Number.NaN, Infinity, -Infinity][i % 3] as number;
        expect(kernels.firstNonFinite(0, MOST)).toBe(i);
      }
    }
  });

  it('sum squares that float32 cannot hold', () => {
    for (const { buffer, kernels } of [wasm, reference]) {
      new Float32Array(buffer, 0, 16).fill(3e38);
      expect(Math.sqrt(kernels.sumOfSquares(0, 16)) / (4 * 3e38)).toBeCloseTo(1, 6);
    }
  });
});

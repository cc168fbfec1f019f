import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../kernels/index.js';
import { guardedScales, moveBreakingPairs } from './pair-guard.js';
import { byOutput, saturationRisk } from './saturation.js';
import { convMatrix, productMatrix, type WeightMatrix } from './weight-matrix.js';
import { channelLayout, quantizeWeight } from './weights.js';

/** Seeded normal values. */
function normal(count: number, seed: number): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const size = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** Integers that span each channel, and then the guarded ones. */
function quantizeBoth(values: Float32Array, dims: readonly number[], matrix: WeightMatrix, peak?: readonly number[]) {
  const layout = channelLayout(dims, matrix.axis);
  const finest = new Float32Array(matrix.channels);
  for (let c = 0; c < matrix.channels; c++) {
    for (const offset of matrix.offsets) {
      finest[c] = Math.max(finest[c] as number, Math.abs(values[c * matrix.stride + offset] as number) / 127);
    }
  }
  const under = (scale: Float32Array): Int8Array => {
    const spec = { scale, zeroPoint: new Int32Array(matrix.channels), qmin: -127, qmax: 127 };
    return new Int8Array(quantizeWeight(kernels(), values, layout, spec).buffer);
  };
  const plain = under(finest);
  const scales = guardedScales(values, matrix, finest, plain, { peak });
  const guarded = under(scales);
  moveBreakingPairs(values, matrix, scales, guarded, { peak });
  return { plain, finest, guarded, scales };
}

/** Squared error against the real weights. */
function error(values: Float32Array, integers: Int8Array, scales: Float32Array, matrix: WeightMatrix): number {
  let sum = 0;
  for (let c = 0; c < matrix.channels; c++) {
    for (const offset of matrix.offsets) {
      const i = c * matrix.stride + offset;
      sum += ((values[i] as number) - (scales[c] as number) * (integers[i] as number)) ** 2;
    }
  }
  return sum;
}

const CASES = [
  { dims: [8, 16, 3, 3], kind: 'conv', matrix: convMatrix([8, 16, 3, 3], 1) },
  // Three channels: pairs cross from one kernel position to the next, and one factor has no neighbour.
  { dims: [8, 3, 3, 3], kind: 'conv', matrix: convMatrix([8, 3, 3, 3], 1) },
  { dims: [33, 24], kind: 'matmul', matrix: productMatrix([33, 24], false) },
  { dims: [24, 33], kind: 'gemm-transposed', matrix: productMatrix([24, 33], true) },
] as const;

describe('pair guard', () => {
  it.each(CASES)('leaves no pair that can overflow in $kind $dims', ({ dims, kind, matrix }) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), (seed) => {
        const { plain, guarded } = quantizeBoth(normal(size(dims), seed), dims, matrix);
        const risk = (q: Int8Array) => {
          const { weights, outputs } = byOutput(q, dims, kind);
          return saturationRisk(weights, outputs).overflowing;
        };
        expect(risk(plain)).toBeGreaterThan(0);
        expect(risk(guarded)).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it('costs less than the seventh bit does', () => {
    const { dims, matrix } = CASES[0];
    const values = normal(size(dims), 3);
    const { guarded, scales, plain, finest } = quantizeBoth(values, dims, matrix);
    const coarse = finest.map((s) => (s * 127) / 64);
    const reduced = Int8Array.from(values, (v, i) => Math.round(v / (coarse[Math.floor(i / matrix.depth)] as number)));
    const ideal = error(values, plain, finest, matrix);
    const guardedError = error(values, guarded, scales, matrix);
    expect(guardedError).toBeGreaterThan(ideal);
    // 7 bits quadruple the squared error.
    expect(guardedError).toBeLessThan(0.7 * error(values, reduced, coarse, matrix));
  });

  it('changes nothing where calibration saw that activations stay small', () => {
    const { dims, matrix } = CASES[0];
    const values = normal(size(dims), 4);
    const { plain, guarded, finest, scales } = quantizeBoth(values, dims, matrix, new Array(16).fill(120));
    expect(guarded).toEqual(plain);
    expect(scales).toEqual(finest);
  });

  it('takes the peaks of the channels that a group reads', () => {
    const dims = [4, 2, 1, 1];
    const matrix = convMatrix(dims, 2);
    const values = new Float32Array(8).fill(1);
    // The first group reads channels 0 and 1, the second 2 and 3.
    const { guarded } = quantizeBoth(values, dims, matrix, [255, 255, 100, 100]);
    const [a, b] = [guarded[0] as number, guarded[1] as number];
    expect(255 * (a + b)).toBeLessThanOrEqual(32767);
    expect([...guarded.subarray(4)]).toEqual([127, 127, 127, 127]);
  });
});

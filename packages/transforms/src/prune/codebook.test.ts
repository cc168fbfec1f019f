import { seededRandom } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codebookOf, nearest } from './codebook.js';

const OPTIONS = { start: 'optimal', seed: 1 } as const;

/** Squared error of `values` after each is replaced by the nearest of `codebook`, looked for among all of them. */
const error = (values: ArrayLike<number>, codebook: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, v) => sum + Math.min(...Array.from(codebook, (c) => (v - c) ** 2)), 0);

/** The least error of any partition of the sorted values into `size` ranges: all of them are tried. */
function leastError(sorted: readonly number[], size: number): number {
  if (sorted.length === 0) return 0;
  if (size === 0) return Number.POSITIVE_INFINITY;
  let least = Number.POSITIVE_INFINITY;
  for (let end = 1; end <= sorted.length; end++) {
    const first = sorted.slice(0, end);
    const mean = first.reduce((a, v) => a + v, 0) / end;
    const own = first.reduce((a, v) => a + (v - mean) ** 2, 0);
    least = Math.min(least, own + leastError(sorted.slice(end), size - 1));
  }
  return least;
}

const normals = (n: number, seed = 1): Float32Array => {
  const random = seededRandom(seed);
  return Float32Array.from({ length: n }, () => random.normal());
};

describe('codebookOf', () => {
  it('finds the least squared error there is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 11 }),
        fc.integer({ min: 1, max: 5 }),
        (numbers, size) => {
          // Zeros in numbers get an entry of their own, which is tested below.
          const values = Float32Array.from(numbers, (v) => v || 1);
          const codebook = codebookOf(values, { ...OPTIONS, size });
          expect(codebook.length).toBeLessThanOrEqual(size);
          const least = leastError(
            [...values].sort((a, b) => a - b),
            size,
          );
          expect(error(values, codebook)).toBeLessThanOrEqual(least * (1 + 1e-9) + 1e-9);
        },
      ),
      { numRuns: 300, seed: 3 },
    );
  });

  it('comes near to the optimum where it does not consider every place to cut', () => {
    // With heavy tails.
    const values = normals(20_000).map((v) => v * Math.abs(v));
    const ours = error(values, codebookOf(values, { ...OPTIONS, size: 16 }));
    const restarts = Array.from({ length: 30 }, (_, seed) =>
      error(values, codebookOf(values, { size: 16, start: 'k-means++', seed })),
    );
    expect(ours).toBeLessThanOrEqual(Math.min(...restarts) * (1 + 1e-6));
    expect(ours).toBeLessThan(error(values, codebookOf(values, { ...OPTIONS, size: 16, start: 'linear' })));
  });

  it('reaches the distortion of Max and of Lloyd for a normal distribution', () => {
    // Max, "Quantizing for minimum distortion", 1960: 4, 16 and 32 levels.
    const values = normals(200_000);
    const distortion = (size: number): number =>
      error(values, codebookOf(values, { ...OPTIONS, size })) / values.length;
    expect(distortion(4) / 0.1175).toBeCloseTo(1, 1);
    expect(distortion(16) / 0.009497).toBeCloseTo(1, 1);
    expect(distortion(32) / 0.002499).toBeCloseTo(1, 1);
  });

  it.each(['linear', 'k-means++'] as const)('ends where no center wants to move: %s', (start) => {
    const values = normals(3000, 4);
    const codebook = codebookOf(values, { start, size: 8, seed: 5 });
    const codes = nearest(values, codebook);
    for (const [c, center] of codebook.entries()) {
      const own = values.filter((_, i) => codes[i] === c);
      expect(own.reduce((a, v) => a + v, 0) / own.length).toBeCloseTo(center, 9);
    }
    expect(codebookOf(values, { start, size: 8, seed: 5 })).toEqual(codebook);
  });

  it('keeps values that are few enough as they are', () => {
    const values = Float32Array.of(3, -1, 3, 0.1, -1);
    expect(codebookOf(values, { ...OPTIONS, size: 4 })).toEqual(Float64Array.of(-1, Math.fround(0.1), 3));
  });

  it('keeps pruned weights at 0', () => {
    const values = normals(1000, 2).map((v, i) => (i % 5 === 0 ? v : 0));
    const codebook = codebookOf(values, { ...OPTIONS, size: 8 });
    expect(codebook).toHaveLength(8);
    expect(codebook).toContain(0);
    const codes = nearest(values, codebook);
    expect(values.every((v, i) => v !== 0 || codebook[codes[i]!] === 0)).toBe(true);
  });

  it('takes a sample of very many values, the same each time', () => {
    const values = normals(1_200_000, 6);
    const codebook = codebookOf(values, { ...OPTIONS, size: 16 });
    expect(error(values.subarray(0, 50_000), codebook) / 50_000).toBeCloseTo(0.009497, 3);
    expect(codebookOf(values, { ...OPTIONS, size: 16 })).toEqual(codebook);
  });
});

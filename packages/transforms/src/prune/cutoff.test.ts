import { seededRandom } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { cut, cutoff, sortScores } from './cutoff.js';

const random = seededRandom(5);
/** Of all sizes that floats have, denormals and infinity included, some of them equal. */
const scores = Float32Array.from({ length: 5000 }, () =>
  random.uniform() < 0.1 ? random.integer(3) : Math.abs(random.normal()) * 10 ** (random.integer(80) - 42),
);
const ascending = [...scores].sort((a, b) => a - b);

/** In pieces, as layers come. */
async function* pieces(): AsyncGenerator<Float32Array> {
  for (let i = 0; i < scores.length; i += 700) yield scores.subarray(i, i + 700);
}

describe('cutoff', () => {
  it.each([0, 1, 100, 2499, 4999, 5000])('removes exactly %i', async (count) => {
    const lowest = await cutoff(pieces, count);
    if (count > 0) expect(lowest.score).toBe(ascending[count - 1]);
    const mask = cut(scores, lowest);
    expect(mask.filter((kept) => kept === 0)).toHaveLength(count);
    // Nothing that goes is above anything that stays.
    const gone = scores.filter((_, i) => mask[i] === 0);
    const kept = scores.filter((_, i) => mask[i] === 1);
    expect(Math.max(0, ...gone)).toBeLessThanOrEqual(Math.min(Number.POSITIVE_INFINITY, ...kept));
  });
});

describe('sortScores', () => {
  it('sorts what is not negative', () => {
    expect([...sortScores(scores.slice())]).toEqual(ascending);
    expect(sortScores(new Float32Array(0))).toHaveLength(0);
  });
});

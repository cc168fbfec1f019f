import { seededRandom } from '@pare/core';
import { expect, it } from 'vitest';
import { regress } from './least-squares.js';

const random = seededRandom(3);

/** Gram matrix of `n` rows of 40 numbers. */
function gramOf(rows: readonly (readonly number[])[]): Float64Array {
  const n = rows.length;
  const dot = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, v, i) => sum + v * (b[i] as number), 0);
  return Float64Array.from({ length: n * n }, (_, at) =>
    dot(rows[Math.floor(at / n)] as readonly number[], rows[at % n] as readonly number[]),
  );
}

const noise = (): number[] => Array.from({ length: 40 }, () => random.normal());

it('solves the normal equations of the ridge', () => {
  const gram = gramOf(Array.from({ length: 9 }, noise));
  const [known, wanted] = [
    [0, 3, 4, 7, 8],
    [1, 2, 6],
  ];
  const damping = 0.1;
  const a = regress(gram, 9, known, wanted, damping);
  const ridge = (damping * known.reduce((sum, i) => sum + (gram[i * 9 + i] as number), 0)) / known.length;
  for (const i of known.keys()) {
    for (const [r, target] of wanted.entries()) {
      let left = ridge * (a[i * 3 + r] as number);
      for (const [k, other] of known.entries())
        left += (gram[(known[i] as number) * 9 + other] as number) * (a[k * 3 + r] as number);
      expect(left).toBeCloseTo(gram[(known[i] as number) * 9 + target] as number, 8);
    }
  }
});

it('finds the combination that a row is made of, and gives dead rows no weight', () => {
  const [x, y] = [noise(), noise()];
  const rows = [x, y, new Array<number>(40).fill(0), x.map((v, i) => 2 * v - 3 * (y[i] as number))];
  const a = regress(gramOf(rows), 4, [0, 1, 2], [3], 1e-9);
  for (const [i, expected] of [2, -3, 0].entries()) expect(a[i]).toBeCloseTo(expected, 6);
  expect([...regress(new Float64Array(16), 4, [0, 1], [2, 3], 0.1)]).toEqual([0, 0, 0, 0]);
});

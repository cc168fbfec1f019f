import type { HostTensor } from '../engine.js';

fc.configureGlobal({ seed: 20 });

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  castTensor,
  countNonFinite,
  float16ToNumber,
  numberToFloat16,
  sliceTensor,
  stackTensors,
  toNumbers,
} from './tensor.js';

describe('float16', () => {
  it('knows the marks of IEEE 754', () => {
    const marks: [number, number][] = [
      [0x0000, 0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3c00, 1],
      [0x3555, 0.333251953125],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x7c00, Number.POSITIVE_INFINITY],
      [0xfc00, Number.NEGATIVE_INFINITY],
    ];
    for (const [bits, value] of marks) {
      expect(float16ToNumber(bits)).toBe(value);
      expect(numberToFloat16(value)).toBe(bits);
    }
    expect(float16ToNumber(0x7e00)).toBeNaN();
    expect(float16ToNumber(numberToFloat16(Number.NaN))).toBeNaN();
    expect(numberToFloat16(-0)).toBe(0x8000);
  });
  it('gives every number back', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = float16ToNumber(bits);
      if (!Number.isNaN(value)) expect(numberToFloat16(value)).toBe(bits);
    }
  });
  it('rounds to the nearest, ties to even', () => {
    // All finite positive numbers ascend with their bits: the oracle is a search.
    const table = Float64Array.from({ length: 0x7c00 }, (_, bits) => float16ToNumber(bits));
    fc.assert(
      fc.property(fc.double({ min: 0, max: 65519, noNaN: true }), (x) => {
        const value = Math.fround(x);
        let best = 0;
        for (const step of [16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1]) {
          if (best + step < table.length && (table[best + step] as number) <= value) best += step;
        }
        const [low, high] = [table[best] as number, table[best + 1] ?? 65536];
        const even = best % 2 === 0 ? best : best + 1;
        const expected = value - low < high - value ? best : value - low > high - value ? best + 1 : even;
        expect(numberToFloat16(value)).toBe(expected);
      }),
      { numRuns: 3000 },
    );
    expect(numberToFloat16(65519)).toBe(0x7bff);
    expect(numberToFloat16(65520)).toBe(0x7c00);
  });
});

describe('conversions', () => {
  it('bfloat16 keeps the upper half of float32, rounded to even', () => {
    const numbers: HostTensor = {
      dtype: 'float32',
      dims: [4],
      data: Float32Array.of(1, -2.5, 1 + 2 ** -8, 1 + 3 * 2 ** -8),
    };
    const half = castTensor(numbers, 'bfloat16');
    expect(Array.from(toNumbers(half))).toEqual([1, -2.5, 1, 1 + 2 ** -6]);
  });
  it('integers convert exactly', () => {
    const ids: HostTensor = { dtype: 'int64', dims: [2], data: BigInt64Array.of(-1n, 7n) };
    expect(castTensor(ids, 'int32')).toEqual({ dtype: 'int32', dims: [2], data: Int32Array.of(-1, 7) });
    const back = castTensor({ dtype: 'int32', dims: [2], data: Int32Array.of(-1, 7) }, 'int64');
    expect(back).toEqual(ids);
  });
  it('strings are not numbers', () => {
    expect(() => toNumbers({ dtype: 'string', dims: [1], data: ['a'] })).toThrow(/string/);
  });
});

it('stack and slice are inverse', () => {
  const rows: HostTensor[] = [0, 1, 2].map((i) => ({
    dtype: 'int16',
    dims: [2, 2],
    data: Int16Array.of(i, i + 1, i + 2, i + 3),
  }));
  const stacked = stackTensors(rows);
  expect(stacked.dims).toEqual([3, 2, 2]);
  for (const [i, row] of rows.entries()) expect(sliceTensor(stacked, i)).toEqual(row);
  const texts: HostTensor[] = ['a', 'b'].map((s) => ({ dtype: 'string', dims: [1], data: [s] }));
  expect(sliceTensor(stackTensors(texts), 1)).toEqual(texts[1]);
});

it('counts what is not finite, in every float type', () => {
  const data = Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, 1e-45);
  const single: HostTensor = { dtype: 'float32', dims: [6], data };
  expect(countNonFinite(single)).toEqual({ nan: 1, infinite: 2 });
  expect(countNonFinite(castTensor(single, 'float64'))).toEqual({ nan: 1, infinite: 2 });
  expect(countNonFinite(castTensor(single, 'float16'))).toEqual({ nan: 1, infinite: 3 });
  expect(countNonFinite(castTensor(single, 'bfloat16'))).toEqual({ nan: 1, infinite: 2 });
  expect(countNonFinite({ dtype: 'uint8', dims: [1], data: Uint8Array.of(255) })).toEqual({ nan: 0, infinite: 0 });
});

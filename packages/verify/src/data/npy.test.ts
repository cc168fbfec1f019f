import { readFileSync } from 'node:fs';

fc.configureGlobal({ seed: 20 });

import { type DType, float16ToNumber, type HostTensor, PareError, type TypedArray } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeNpy, parseNpy } from './npy.js';

/** Arrays as NumPy writes them: test/fixtures/generate.py. */
const golden = JSON.parse(readFileSync(new URL('../../test/fixtures/numpy.json', import.meta.url), 'utf8')) as {
  arrays: Record<string, { base64: string; dims: number[]; values: string[] }>;
  refused: Record<string, string>;
};
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));

function textOf(tensor: HostTensor): string[] {
  if (tensor.dtype === 'string') return [...(tensor.data as string[])];
  const values = Array.from(tensor.data as ArrayLike<number | bigint>);
  if (tensor.dtype === 'float16') return values.map((v) => String(float16ToNumber(Number(v))));
  if (tensor.dtype === 'bool') return values.map((v) => (v ? 'True' : 'False'));
  return values.map(String);
}

const sameNumber = (a: string, b: string): boolean => {
  if (a === b) return true;
  const x = Number(a);
  const y = Number(b.replace(/^-?nan$/, 'NaN').replace('inf', 'Infinity'));
  return Object.is(x, y) || (x !== 0 && Math.abs(x / y - 1) < 1e-6) || (x === 0 && y === 0);
};

describe('reads what NumPy writes', () => {
  it.each(Object.entries(golden.arrays))('%s', (name, { base64, dims, values }) => {
    const tensor = parseNpy(bytesOf(base64), name);
    expect(tensor.dims).toEqual(dims);
    const text = textOf(tensor);
    expect(text.length).toBe(values.length);
    for (const [i, v] of values.entries())
      expect([text[i], v, sameNumber(text[i] as string, v)]).toEqual([text[i], v, true]);
  });
  it('keeps 64-bit integers exact', () => {
    expect(parseNpy(bytesOf(golden.arrays.int64?.base64 as string)).data[0]).toBe(-(2n ** 63n));
    expect(parseNpy(bytesOf(golden.arrays.uint64?.base64 as string)).data[1]).toBe(2n ** 64n - 1n);
  });
});

it.each([
  ['object', /pickle/],
  ['structured', /structured/],
  ['datetime', /"<M8\[s\]"/],
])('refuses %s arrays with a reason', (name, reason) => {
  expect(() => parseNpy(bytesOf(golden.refused[name] as string), 'a.npy')).toThrow(reason);
});

describe('round trip', () => {
  const arrays = fc
    .tuple(
      fc.constantFrom<DType>(
        'float32',
        'float64',
        'float16',
        'int8',
        'uint8',
        'int16',
        'int32',
        'int64',
        'uint64',
        'bool',
      ),
      fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
      fc.integer({ min: 1, max: 1e6 }),
    )
    .map(([dtype, dims, seed]): HostTensor => {
      const size = dims.reduce((a, b) => a * b, 1);
      const classes = { float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array };
      const more = { uint8: Uint8Array, bool: Uint8Array, int16: Int16Array, int32: Int32Array };
      const big = { int64: BigInt64Array, uint64: BigUint64Array };
      if (dtype in big) {
        const data = new big[dtype as 'int64'](size);
        return { dtype, dims, data: data.map((_, i) => BigInt((i * seed) % 1000)) };
      }
      const data = new { ...classes, ...more }[dtype as 'float32'](size);
      return { dtype, dims, data: data.map((_, i) => (dtype === 'bool' ? i % 2 : (i * seed) % 100)) as TypedArray };
    });
  it('gives every array back', () => {
    fc.assert(
      fc.property(arrays, (tensor) => {
        expect(parseNpy(encodeNpy(tensor))).toEqual(tensor);
      }),
      { numRuns: 200 },
    );
  });
  it('gives texts back', () => {
    const texts = fc.array(
      fc.string({ unit: 'grapheme', maxLength: 6 }).filter((s) => !s.includes('\0')),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(texts, (data) => {
        const tensor: HostTensor = { dtype: 'string', dims: [data.length], data };
        expect(parseNpy(encodeNpy(tensor))).toEqual(tensor);
      }),
    );
  });
});

it('mutated files give a typed error or an array, quickly', () => {
  const originals = Object.values(golden.arrays).map((a) => bytesOf(a.base64));
  const start = performance.now();
  fc.assert(
    fc.property(
      fc.constantFrom(...originals),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
      fc.nat(500),
      (original, changes, cut) => {
        const bytes = original.slice(0, Math.max(0, original.length - (cut < 250 ? 0 : cut - 250)));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          const tensor = parseNpy(bytes, 'a.npy');
          const size = tensor.dims.reduce((a, b) => a * b, 1);
          expect(tensor.data.length).toBe(size * (tensor.dtype.startsWith('complex') ? 2 : 1));
        } catch (error) {
          expect(error).toBeInstanceOf(PareError);
          expect((error as PareError).message).toMatch(/^a\.npy|complex/);
        }
      },
    ),
    { numRuns: 3000 },
  );
  expect(performance.now() - start).toBeLessThan(10_000);
});

it('every truncation is an error', () => {
  const bytes = bytesOf(golden.arrays.fortran?.base64 as string);
  for (let length = 0; length < bytes.length; length++) {
    expect(() => parseNpy(bytes.subarray(0, length))).toThrow(PareError);
  }
});

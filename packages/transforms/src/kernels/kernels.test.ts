import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BlockSpec,
  type FloatInput,
  type FloatReader,
  type Floats,
  type Kernels,
  kernels,
  packZeroPoints,
} from './index.js';
import { referenceKernels } from './reference.js';

const wasm = kernels();

/** Floats of all kinds: ordinary, tiny, huge, zeros of both signs, halves for ties, and (if asked) NaN and infinities. */
const value = (special: boolean) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.float({ min: -4, max: 4, noNaN: true }) },
    { weight: 2, arbitrary: fc.float({ noNaN: true, noDefaultInfinity: true }) },
    { weight: 2, arbitrary: fc.integer({ min: -600, max: 600 }).map((i) => i / 2) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(0, -0, 65504, 65519, 65520, -65536, 2 ** -24, 2 ** -25, 6e-8, 2 ** -14, 1e-45),
    },
    ...(special ? [{ weight: 1, arbitrary: fc.constantFrom(Number.NaN, Infinity, -Infinity) }] : []),
  );
const vector = (special: boolean, maxLength = 200) =>
  fc.array(value(special), { maxLength, size: 'max' }).map((v) => Float32Array.from(v));
const matrix = (special: boolean, maxCols = 40) =>
  fc
    .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: maxCols }))
    .chain(([rows, cols]) =>
      fc
        .array(value(special), { minLength: rows * cols, maxLength: rows * cols })
        .map((v) => ({ rows, cols, x: Float32Array.from(v) })),
    );

/** The same values as bytes at an odd offset, as they may lie in a file. */
function unaligned(x: Float32Array): Uint8Array {
  const buffer = new Uint8Array(x.byteLength + 3);
  buffer.set(new Uint8Array(x.buffer, x.byteOffset, x.byteLength), 3);
  return buffer.subarray(3);
}

/** The same values behind a reader, as in a file. */
function reader(x: Float32Array): FloatReader {
  const bytes = unaligned(x);
  return {
    length: x.length,
    read: (index, target) => target.set(bytes.subarray(index * 4, index * 4 + target.byteLength)),
  };
}

/** Runs `use` with both implementations, from floats and from unaligned bytes, and expects equal results. */
function same(x: Float32Array, use: (k: Kernels, x: Floats) => unknown): void {
  const expected = use(referenceKernels, x);
  expect(use(wasm, x)).toEqual(expected);
  expect(use(wasm, unaligned(x))).toEqual(expected);
}

/** The same, and from a reader. */
function sameOfMatrix(x: Float32Array, use: (k: Kernels, x: FloatInput) => unknown): void {
  same(x, use);
  expect(use(wasm, reader(x))).toEqual(use(wasm, x));
}

/** Seeded normal deviates (mulberry32 and Box-Muller). */
function gaussian(n: number, seed = 1): Float32Array {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length: n },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

describe('range', () => {
  it('counts NaN and infinities and takes the extremes of the rest', () => {
    fc.assert(fc.property(vector(true), (x) => same(x, (k, v) => k.range(v))));
  });

  it('does so by rows and columns', () => {
    fc.assert(
      fc.property(matrix(true), ({ x, rows, cols }) => {
        sameOfMatrix(x, (k, v) => k.rangeRows(v, rows, cols));
        sameOfMatrix(x, (k, v) => k.rangeColumns(v, rows, cols));
      }),
    );
  });

  it('joins the pieces of a long row', () => {
    const x = gaussian(200_003);
    x[199_999] = 9;
    x[70_000] = Number.NaN;
    x[3] = -9;
    expect(wasm.range(x)).toEqual({ min: -9, max: 9, nan: 1, inf: 0 });
    sameOfMatrix(x.subarray(0, 140_000), (k, v) => k.rangeRows(v, 2, 70_000));
  });
});

describe('quantize', () => {
  const ranges = fc.constantFrom([-128, 127], [-127, 127], [-64, 64], [0, 255], [0, 127], [-8, 7]);
  const affine = (channels: number) =>
    fc.record({
      scale: fc.array(fc.constantFrom(0.5, 1, 0.0078125, 0.1, 3, 1e-3, 1e-20), {
        minLength: channels,
        maxLength: channels,
      }),
      zero: fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: channels, maxLength: channels }),
    });

  it('rounds ties to even and saturates, by rows and columns', () => {
    fc.assert(
      fc.property(
        matrix(true).chain((m) => fc.tuple(fc.constant(m), affine(m.rows), affine(m.cols), ranges)),
        ([{ x, rows, cols }, ofRows, ofCols, range]) => {
          const [qmin, qmax] = range as [number, number];
          const spec = ({ scale, zero }: { scale: number[]; zero: number[] }) => ({
            scale: Float32Array.from(scale),
            zeroPoint: Int32Array.from(zero, (z) => qmin + (z % (qmax - qmin + 1))),
            qmin,
            qmax,
          });
          sameOfMatrix(x, (k, v) => k.quantizeRows(v, rows, cols, spec(ofRows)));
          sameOfMatrix(x, (k, v) => k.quantizeColumns(v, rows, cols, spec(ofCols)));
        },
      ),
    );
  });

  it('matches hand-computed values', () => {
    const x = Float32Array.of(0.5, 1.5, 2.5, -0.5, -1.5, 300, -300, Number.NaN);
    const spec = { scale: Float32Array.of(1), zeroPoint: Int32Array.of(0), qmin: -128, qmax: 127 };
    expect([...new Int8Array(wasm.quantizeRows(x, 1, 8, spec).buffer)]).toEqual([0, 2, 2, 0, -2, 127, -128, -128]);
  });

  it('goes through inputs larger than a piece', () => {
    const x = gaussian(2 * 70_000);
    const spec = (n: number) => ({
      scale: new Float32Array(n).map((_, i) => 0.01 + i * 1e-4),
      zeroPoint: new Int32Array(n).fill(3),
      qmin: -127,
      qmax: 127,
    });
    sameOfMatrix(x, (k, v) => k.quantizeRows(v, 2, 70_000, spec(2)));
    sameOfMatrix(x, (k, v) => k.quantizeColumns(v, 2, 70_000, spec(70_000)));
    sameOfMatrix(x, (k, v) => k.quantizeColumns(v, 700, 200, spec(200)));
  });
});

describe('trial errors', () => {
  const trial = (n: number) => ({
    inverse: new Float32Array(n).map((_, i) => 3 + (i % 7)),
    lo: new Float32Array(n).fill(-7),
    hi: new Float32Array(n).fill(8),
  });

  it('are those of the reference for every shape', () => {
    fc.assert(
      fc.property(matrix(false), ({ x, rows, cols }) => {
        sameOfMatrix(x, (k, v) => k.errorRows(v, rows, cols, trial(rows)));
        sameOfMatrix(x, (k, v) => k.errorColumns(v, rows, cols, trial(cols)));
      }),
    );
  });

  it('are so for inputs larger than a piece', () => {
    const x = gaussian(211 * 700);
    sameOfMatrix(x, (k, v) => k.errorRows(v, 2, 73_850, trial(2)));
    sameOfMatrix(x, (k, v) => k.errorRows(v, 211, 700, trial(211)));
    sameOfMatrix(x, (k, v) => k.errorColumns(v, 211, 700, trial(700)));
    sameOfMatrix(x, (k, v) => k.errorColumns(v, 700, 211, trial(211)));
  });

  it('give the error of the least-squares scale without a second pass', () => {
    const x = gaussian(1000);
    const spec = { inverse: Float32Array.of(4), lo: Float32Array.of(-8), hi: Float32Array.of(7) };
    const { dd, ad, aa } = wasm.errorRows(x, 1, 1000, spec);
    const refit = 0.25 * (1 + ad[0]! / aa[0]!);
    let error = 0;
    for (const v of x) error += (v - refit * Math.max(-8, Math.min(7, Math.round(v * 4)))) ** 2;
    expect((dd[0]! - ad[0]! ** 2 / aa[0]!) / 16).toBeCloseTo(error, 5);
  });
});

describe('products', () => {
  it('are exact sums in the order of the lanes', () => {
    fc.assert(
      fc.property(vector(false), vector(false), (a, b) => {
        const n = Math.min(a.length, b.length);
        same(a.slice(0, n), (k, v) => k.products(v, b.slice(0, n)));
      }),
    );
    same(gaussian(150_001), (k, v) => k.products(v, gaussian(150_001, 2)));
  });
});

describe('16-bit floats', () => {
  it('round to nearest even from float32, with subnormals, infinities and NaN', () => {
    fc.assert(
      fc.property(vector(true), (x) => {
        same(x, (k, v) => k.toFloat16(v));
        same(x, (k, v) => k.toFloat16(v, true));
        same(x, (k, v) => k.toBfloat16(v));
      }),
    );
  });

  it('agree with the reference on every exponent, at and beside each tie', () => {
    const bits: number[] = [];
    for (let e = 0; e < 256; e++) {
      for (const fraction of [
        0, 1, 0xfff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0x18000, 0x7fefff, 0x7ff000, 0x7fffff,
      ]) {
        bits.push((e << 23) | fraction, (0x80000000 | (e << 23) | fraction) >>> 0);
      }
    }
    const x = new Float32Array(Uint32Array.from(bits).buffer);
    same(x, (k, v) => k.toFloat16(v));
    same(x, (k, v) => k.toBfloat16(v));
  });

  it('convert all 65536 patterns, and back to the same bits except NaN', () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const words = (x: Float32Array) => new Uint32Array(x.buffer);
    for (const [from, to] of [
      ['fromFloat16', 'toFloat16'],
      ['fromBfloat16', 'toBfloat16'],
    ] as const) {
      const x = wasm[from](bits);
      expect(words(x)).toEqual(words(referenceKernels[from](bits)));
      const back = wasm[to](x);
      expect(back.filter((h, i) => h !== i && !Number.isNaN(x[i]))).toHaveLength(0);
    }
  });

  it('matches hand-computed float16 bits', () => {
    const x = Float32Array.of(1, -2, 65504, 65519.996, 65520, 2 ** -24, 2 ** -25, 0.1, -0, 1e30);
    expect([...wasm.toFloat16(x)]).toEqual([0x3c00, 0xc000, 0x7bff, 0x7bff, 0x7c00, 1, 0, 0x2e66, 0x8000, 0x7c00]);
    expect([...wasm.toFloat16(Float32Array.of(1e30, -1e30, Infinity), true)]).toEqual([0x7bff, 0xfbff, 0x7c00]);
  });
});

describe('histogram', () => {
  it('counts every finite value but zero once', () => {
    fc.assert(
      fc.property(vector(true), fc.integer({ min: -8, max: 4 }), (x, exponent) => {
        const count = (k: Kernels, v: Floats) => {
          const sides = [new Float64Array(64), new Float64Array(64)] as const;
          return { total: k.histogram(v, exponent, ...sides), sides };
        };
        same(x, count);
        const { total, sides } = count(wasm, x);
        expect(sides.flatMap((side) => [...side]).reduce((a, b) => a + b, 0)).toBe(total);
        expect(total).toBe(x.filter((v) => Number.isFinite(v) && v !== 0).length);
      }),
    );
  });

  it('adds pieces of a long input', () => {
    const x = gaussian(200_001);
    same(x, (k, v) => {
      const sides = [new Float64Array(4096), new Float64Array(4096)] as const;
      k.histogram(v, -9, ...sides);
      return sides;
    });
  });
});

describe('quantizeBlocks', () => {
  const spec = fc.record({
    rows: fc.integer({ min: 1, max: 70 }),
    cols: fc.integer({ min: 1, max: 70 }),
    axis: fc.constantFrom(0 as const, 1 as const),
    bits: fc.constantFrom(2 as const, 4 as const, 8 as const),
    size: fc.constantFrom(16, 32, 64),
    symmetric: fc.boolean(),
    layout: fc.constantFrom('blocks' as const, 'tensor' as const),
    signed: fc.boolean(),
  });

  /** Equal but for the two energies, whose order of summation differs. */
  function sameBlocks(x: Float32Array, s: BlockSpec): void {
    const { noise, signal, ...expected } = referenceKernels.quantizeBlocks(x, s);
    for (const input of [x, unaligned(x), reader(x)]) {
      const made = wasm.quantizeBlocks(input, s);
      expect({ packed: made.packed, scales: made.scales, zeroPoints: made.zeroPoints }).toEqual(expected);
      expect(Math.abs(made.noise - noise)).toBeLessThanOrEqual(1e-3 * noise + 1e-9 * signal);
      expect(Math.abs(made.signal - signal)).toBeLessThanOrEqual(1e-4 * signal);
    }
  }

  it('equals the reference for any shape, axis, width and layout', () => {
    fc.assert(
      fc.property(spec, fc.integer({ min: 0, max: 1000 }), (s, seed) => {
        const ragged = s.axis === 1 && s.layout === 'tensor' && (s.cols * s.bits) % 8 !== 0;
        sameBlocks(gaussian(s.rows * s.cols, seed), ragged ? { ...s, layout: 'blocks' } : s);
      }),
      { numRuns: 60 },
    );
  });

  it('handles zeros, constants, one-sided, tiny and huge weights', () => {
    const rows = 32;
    const cases = [
      () => 0,
      () => 1,
      () => -1,
      (i: number) => i,
      (i: number) => -i,
      (i: number) => 1e-40 * i,
      (i: number) => 1e-37 * i,
      (i: number) => (i % 2 ? 3e38 : -3e38),
      (i: number) => (i === 5 ? 1e4 : 1e-4),
    ];
    const x = Float32Array.from({ length: rows * cases.length }, (_, i) =>
      cases[i % cases.length]!(Math.floor(i / cases.length)),
    );
    for (const bits of [2, 4, 8] as const) {
      for (const symmetric of [false, true]) {
        const s = { rows, cols: cases.length, axis: 0, bits, size: 32, symmetric, layout: 'blocks' } as const;
        const { noise: _n, signal: _s, ...expected } = referenceKernels.quantizeBlocks(x, s);
        expect(wasm.quantizeBlocks(x, s)).toMatchObject(expected);
        expect(expected.scales.every((v) => Number.isFinite(v) && v !== 0)).toBe(true);
      }
    }
  });

  it('goes through matrices taller than a strip', () => {
    const x = gaussian(300 * 1050);
    // A strip is 1 MiB at most: about 250 rows.
    for (const layout of ['blocks', 'tensor'] as const) {
      sameBlocks(x, { rows: 300, cols: 1050, axis: 0, bits: 2, size: 64, symmetric: false, layout });
    }
    sameBlocks(x, { rows: 1050, cols: 300, axis: 1, bits: 8, size: 16, symmetric: true, layout: 'tensor' });
  });

  it('keeps weights that lie on the grid', () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => ((i * 7) % 16) - 5);
    const made = wasm.quantizeBlocks(x, {
      rows: 1,
      cols: 64,
      axis: 1,
      bits: 4,
      size: 64,
      symmetric: false,
      layout: 'blocks',
    });
    const scale = made.scales[0]!;
    const codes = [...made.packed].flatMap((b) => [b & 15, b >> 4]);
    for (const [i, q] of codes.entries()) expect(scale * (q - made.zeroPoints[0]!)).toBeCloseTo(x[i]!, 5);
    expect(made.noise / made.signal).toBeLessThan(1e-10);
  });

  it('says so when some value is NaN or infinite, wherever it is', () => {
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      for (const at of [0, 5, 31, 32, 77]) {
        for (const symmetric of [false, true]) {
          for (const axis of [0, 1] as const) {
            const x = gaussian(80);
            x[at] = bad;
            const made = wasm.quantizeBlocks(x, {
              rows: 40,
              cols: 2,
              axis,
              bits: 4,
              size: 32,
              symmetric,
              layout: 'blocks',
            });
            expect(made.signal, `${bad} at ${at}`).toBeNaN();
          }
        }
      }
    }
    const huge = gaussian(80).map((v) => v * 1e38);
    expect(
      wasm.quantizeBlocks(huge, { rows: 40, cols: 2, axis: 0, bits: 4, size: 32, symmetric: false, layout: 'blocks' })
        .signal,
    ).not.toBeNaN();
  });

  /** Squared error of the exhaustive search: 64 scales from 0.6 to 1 of the full range, each refitted. */
  function exhaustive(block: Float32Array): number {
    const lo = Math.min(0, ...block);
    const hi = Math.max(0, ...block);
    let least = Infinity;
    for (let i = 0; i < 64; i++) {
      const ratio = 0.6 + (0.4 * i) / 63;
      const s = ((hi - lo) * ratio) / 15;
      const z = Math.min(15, Math.max(0, Math.round((-lo * ratio) / s)));
      const a = block.map((v) => Math.min(15, Math.max(0, Math.round(v / s + z))) - z);
      const ax = a.reduce((sum, q, j) => sum + q * block[j]!, 0);
      const refit = ax / a.reduce((sum, q) => sum + q * q, 0);
      least = Math.min(
        least,
        block.reduce((sum, v, j) => sum + (v - refit * a[j]!) ** 2, 0),
      );
    }
    return least;
  }

  it('loses less than an exhaustive search of the scale, and than round-to-nearest by far', () => {
    const g = gaussian(6 * 32_768, 9);
    const part = (i: number) => g.subarray(i * 32_768, (i + 1) * 32_768);
    const laplace = part(0).map((v, i) => Math.abs(v) * part(1)[i]!);
    const t = part(0).map((v, i) => v / Math.hypot(part(1)[i]!, part(2)[i]!, part(3)[i]!, part(4)[i]!));
    // The relative error that the best search of the scale alone is published to reach; the third has no such figure.
    for (const [x, published] of [
      [part(0), 0.0779],
      [t, 0.0935],
      [laplace, 1],
    ] as const) {
      const made = wasm.quantizeBlocks(x, {
        rows: 1024,
        cols: 32,
        axis: 1,
        bits: 4,
        size: 32,
        symmetric: false,
        layout: 'blocks',
      });
      let best = 0;
      for (let i = 0; i < x.length; i += 32) best += exhaustive(x.subarray(i, i + 32));
      expect(made.noise).toBeLessThan(0.995 * best);
      expect(Math.sqrt(made.noise / made.signal)).toBeLessThan(published);
    }
  });

  it('packs zero points run by run', () => {
    expect([...packZeroPoints(Uint8Array.of(1, 2, 3, 4, 5, 6), 4, 3)]).toEqual([0x21, 0x03, 0x54, 0x06]);
    expect([...packZeroPoints(Uint8Array.of(1, 2, 3), 2)]).toEqual([0b111001]);
    expect([...packZeroPoints(Uint8Array.of(1, 2, 3), 8, 3)]).toEqual([1, 2, 3]);
  });
});

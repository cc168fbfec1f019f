import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../kernels/index.js';
import { integerRange, type QuantizationTarget } from './params.js';
import { byOutput, saturationRisk } from './saturation.js';
import { type ChannelLayout, channelLayout, quantizeWeight, weightParameters, weightSqnr } from './weights.js';

const k = kernels();
const INT8: QuantizationTarget = { qmin: -127, qmax: 127, symmetric: true };
const UINT8: QuantizationTarget = { qmin: 0, qmax: 255, symmetric: false };
const INT4: QuantizationTarget = { ...integerRange('int4', { symmetric: true }), symmetric: true };

/** Channel of each element, straight from the definition. */
function channelOf(i: number, { channels, inner }: ChannelLayout): number {
  return Math.floor(i / inner) % channels;
}

/** Squared error of each channel. */
function errors(x: Float32Array, layout: ChannelLayout, target: QuantizationTarget, search: boolean): number[] {
  const spec = weightParameters(k, x, layout, target, { search });
  const bytes = quantizeWeight(k, x, layout, spec);
  const integers = target.qmin < 0 ? new Int8Array(bytes.buffer) : bytes;
  const sums = new Array<number>(layout.channels).fill(0);
  x.forEach((v, i) => {
    const c = channelOf(i, layout);
    const q = integers[i] as number;
    expect(q).toBeGreaterThanOrEqual(target.qmin);
    expect(q).toBeLessThanOrEqual(target.qmax);
    sums[c]! += (v - (q - (spec.zeroPoint[c] as number)) * (spec.scale[c] as number)) ** 2;
  });
  return sums;
}

/** Student-t(4) like deviates, seeded: weights with heavy tails. */
function heavyTailed(n: number): Float32Array {
  let seed = 3;
  const u = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed + 0.5) / 2 ** 32;
  };
  return Float32Array.from({ length: n }, () => {
    const g = () => Math.sqrt(-2 * Math.log(u())) * Math.cos(2 * Math.PI * u());
    return g() / Math.sqrt((g() ** 2 + g() ** 2 + g() ** 2 + g() ** 2) / 4);
  });
}

const shaped = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }).chain((dims) =>
  fc.record({
    dims: fc.constant(dims),
    axis: fc.oneof(fc.constant(null), fc.integer({ min: -dims.length, max: dims.length - 1 })),
    x: fc
      .array(fc.float({ min: -4, max: 4, noNaN: true }), {
        minLength: dims.reduce((a, b) => a * b, 1),
        maxLength: dims.reduce((a, b) => a * b, 1),
      })
      .map((v) => Float32Array.from(v)),
  }),
);

describe('quantizeWeight', () => {
  it('is within half a step of every weight, for any shape and axis', () => {
    fc.assert(
      fc.property(shaped, fc.constantFrom(INT8, UINT8, INT4), ({ dims, axis, x }, target) => {
        const layout = channelLayout(dims, axis);
        const spec = weightParameters(k, x, layout, target);
        const bytes = quantizeWeight(k, x, layout, spec);
        const integers = target.qmin < 0 ? new Int8Array(bytes.buffer) : bytes;
        x.forEach((v, i) => {
          const c = channelOf(i, layout);
          const s = spec.scale[c] as number;
          expect(Math.abs(((integers[i] as number) - spec.zeroPoint[c]!) * s - v)).toBeLessThanOrEqual(
            0.5001 * s + 1e-30,
          );
        });
      }),
    );
  });

  it('sees the axis where it is', () => {
    expect(channelLayout([2, 3, 4], 1)).toEqual({ outer: 2, channels: 3, inner: 4 });
    expect(channelLayout([2, 3, 4], -1)).toEqual({ outer: 6, channels: 4, inner: 1 });
    expect(channelLayout([2, 3, 4], null)).toEqual({ outer: 1, channels: 1, inner: 24 });
    expect(() => channelLayout([2], 1)).toThrow(/no axis 1/);
  });

  it('refuses NaN and infinite weights', () => {
    const x = Float32Array.of(1, Number.NaN, Infinity);
    expect(() => weightParameters(k, x, channelLayout([3], null), INT8)).toThrow(/2 NaN or infinite/);
  });
});

describe('the search', () => {
  it('never loses to the full range in any channel', () => {
    fc.assert(
      fc.property(shaped, fc.constantFrom(INT8, UINT8, INT4), ({ dims, axis, x }, target) => {
        const layout = channelLayout(dims, axis);
        const plain = errors(x, layout, target, false);
        const searched = errors(x, layout, target, true);
        for (const [c, e] of searched.entries()) expect(e).toBeLessThanOrEqual(plain[c]! * 1.0001 + 1e-12);
      }),
    );
  });

  it('comes within 3 % of a dense search, on heavy-tailed weights', () => {
    const layout = { outer: 1, channels: 8, inner: 2000 };
    const x = heavyTailed(16_000);
    for (const target of [INT8, INT4, UINT8]) {
      const spec = weightParameters(k, x, layout, target);
      const searched = errors(x, layout, target, true);
      for (let c = 0; c < layout.channels; c++) {
        const part = x.subarray(c * layout.inner, (c + 1) * layout.inner);
        let least = Infinity;
        for (let r = 0.05; r <= 1; r += 0.01) {
          const s = spec.scale[c]! * r;
          const z = spec.zeroPoint[c]!;
          let error = 0;
          for (const v of part) {
            error += (v - Math.min(target.qmax - z, Math.max(target.qmin - z, Math.round(v / s))) * s) ** 2;
          }
          least = Math.min(least, error);
        }
        expect(searched[c]).toBeLessThan(1.03 * least);
      }
    }
  });

  it('does so down the columns and across a stack as along the rows', () => {
    const rows = heavyTailed(64 * 12);
    const columns = new Float32Array(rows.length);
    const stack = new Float32Array(rows.length);
    for (let c = 0; c < 12; c++) {
      for (let i = 0; i < 64; i++) {
        columns[i * 12 + c] = rows[c * 64 + i] as number;
        stack[Math.floor(i / 16) * 12 * 16 + c * 16 + (i % 16)] = rows[c * 64 + i] as number;
      }
    }
    const found = (x: Float32Array, layout: ChannelLayout) =>
      [...weightParameters(k, x, layout, INT4, { search: true }).scale].map((s) => s.toPrecision(5));
    const expected = found(rows, channelLayout([12, 64], 0));
    expect(found(columns, channelLayout([64, 12], 1))).toEqual(expected);
    expect(found(stack, channelLayout([4, 12, 16], 1))).toEqual(expected);
  });

  it('reports the ratio of signal to noise in decibels', () => {
    const x = heavyTailed(4000);
    const layout = channelLayout([4, 1000], 0);
    const signal = x.reduce((sum, v) => sum + v * v, 0);
    const noise = errors(x, layout, INT8, true).reduce((a, b) => a + b, 0);
    const spec = weightParameters(k, x, layout, INT8, { search: true });
    expect(weightSqnr(k, x, layout, spec)).toBeCloseTo(10 * Math.log10(signal / noise), 2);
  });
});

describe('saturationRisk', () => {
  /** The largest |sum| of two products over every extreme of the activations. */
  function brute(a: number, b: number, most: number): boolean {
    const sums = [0, most].flatMap((x) => [0, most].map((y) => x * a + y * b));
    return Math.max(...sums) > 32767 || Math.min(...sums) < -32768;
  }

  it('finds exactly the pairs that some activation overflows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -128, max: 127 }), { minLength: 2, maxLength: 12 }),
        fc.constantFrom(127, 255),
        (values, most) => {
          const reduced = values.length;
          const risk = saturationRisk(Int8Array.from([...values, ...values]), 2, most);
          let expected = 0;
          for (let i = 0; i < reduced; i += 2) if (brute(values[i]!, values[i + 1] ?? 0, most)) expected += 2;
          expect(risk.overflowing).toBe(expected);
          expect(risk.pairs).toBe(2 * Math.ceil(reduced / 2));
          if (expected > 0) expect(risk.worst).toBeGreaterThan(1);
          else expect(risk.worst).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('clears every weight of the reduced range', () => {
    const weights = Int8Array.from(
      { length: 129 * 129 * 2 },
      (_, i) => (i % 2 ? Math.floor(i / 2) % 129 : Math.floor(i / 258)) - 64,
    );
    expect(saturationRisk(weights, 1).overflowing).toBe(0);
    expect(saturationRisk(Int8Array.of(127, 127), 1).worst).toBeCloseTo(64770 / 32767);
  });

  it('walks the weights as the kernels do', () => {
    const x = Int8Array.from({ length: 12 }, (_, i) => i);
    expect(byOutput(x, [3, 4], 'matmul')).toEqual({
      weights: Int8Array.of(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11),
      outputs: 4,
    });
    expect(byOutput(x, [3, 4], 'gemm-transposed')).toEqual({ weights: x, outputs: 3 });
    expect(byOutput(x, [2, 3, 1, 2], 'conv')).toEqual({
      weights: Int8Array.of(0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11),
      outputs: 2,
    });
  });
});

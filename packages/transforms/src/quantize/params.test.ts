import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../kernels/index.js';
import {
  affineParameters,
  coveredRange,
  dequantizeValue,
  guardBiasScales,
  integerRange,
  quantizeBias,
  quantizeValue,
  roundHalfEven,
} from './params.js';

const target = fc.constantFrom(
  { ...integerRange('uint8', { symmetric: false }), symmetric: false },
  { ...integerRange('int8', { symmetric: false }), symmetric: false },
  { ...integerRange('int8', { symmetric: true }), symmetric: true },
  { ...integerRange('uint8', { symmetric: true }), symmetric: true },
  { ...integerRange('uint8', { symmetric: false, reduced: true }), symmetric: false },
  { ...integerRange('int8', { symmetric: true, reduced: true }), symmetric: true },
  { ...integerRange('uint16', { symmetric: false }), symmetric: false },
);
const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e30), max: Math.fround(1e30) });

describe('affineParameters', () => {
  it('covers the range within half a step, and keeps zero exact', () => {
    fc.assert(
      fc.property(finite, finite, target, (a, b, t) => {
        const [lo, hi] = [Math.min(a, b, 0), Math.max(a, b, 0)];
        fc.pre(hi - lo > 1e-30);
        const parameters = affineParameters({ lo, hi }, t);
        const { scale, zeroPoint } = parameters;
        expect(Number.isInteger(zeroPoint) && zeroPoint >= t.qmin && zeroPoint <= t.qmax).toBe(true);
        expect(Math.fround(scale)).toBe(scale);
        const covered = coveredRange(parameters, t);
        expect(covered.lo).toBeLessThanOrEqual(lo + 0.5001 * scale);
        expect(covered.hi).toBeGreaterThanOrEqual(hi - 0.5001 * scale);
        expect(dequantizeValue(quantizeValue(0, parameters, t), parameters)).toBe(0);
        for (const x of [lo, hi, lo / 3, hi / 7]) {
          const back = dequantizeValue(quantizeValue(x, parameters, t), parameters);
          expect(Math.abs(back - x)).toBeLessThanOrEqual(0.5002 * scale);
        }
      }),
    );
  });

  it('gives published values', () => {
    expect(affineParameters({ lo: -1, hi: 3 }, { qmin: 0, qmax: 255, symmetric: false })).toEqual({
      scale: Math.fround(4 / 255),
      zeroPoint: 64,
    });
    expect(affineParameters({ lo: -2, hi: 1 }, { qmin: -127, qmax: 127, symmetric: true })).toEqual({
      scale: Math.fround(2 / 127),
      zeroPoint: 0,
    });
    expect(affineParameters({ lo: 0, hi: 0 }, { qmin: -128, qmax: 127, symmetric: false })).toEqual({
      scale: 1,
      zeroPoint: 0,
    });
    expect(() => affineParameters({ lo: 0, hi: Infinity }, { qmin: 0, qmax: 255, symmetric: false })).toThrow(
      /not finite/,
    );
  });

  it('quantizes as the kernels do', () => {
    fc.assert(
      fc.property(fc.array(finite, { minLength: 1, maxLength: 20 }), target, (values, t) => {
        fc.pre(t.qmax <= 255);
        const parameters = affineParameters({ lo: Math.min(...values), hi: Math.max(...values) / 2 }, t);
        const bytes = kernels().quantizeRows(Float32Array.from(values), 1, values.length, {
          scale: Float32Array.of(parameters.scale),
          zeroPoint: Int32Array.of(parameters.zeroPoint),
          ...t,
        });
        expect([...bytes]).toEqual(values.map((v) => quantizeValue(v, parameters, t) & 255));
      }),
    );
  });
});

describe('roundHalfEven', () => {
  it('takes ties to the even integer', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 1e9 + 0.5, 0.49999999999999994].map(roundHalfEven)).toEqual([
      0, 2, 2, 0, -2, 1e9, 0,
    ]);
  });
});

describe('bias', () => {
  it('fits int32 once guarded, and only the channels in need are raised', () => {
    const bias = fc.array(finite, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(bias, fc.float({ min: Math.fround(1e-6), max: 10, noNaN: true }), (values, inputScale) => {
        const b = Float32Array.from(values);
        const before = b.map((_, i) => 10 ** -((i * 5) % 23));
        const { scales, raised } = guardBiasScales(b, inputScale, before);
        scales.forEach((s, i) => {
          expect(raised.includes(i) ? s > before[i]! : s === before[i]).toBe(true);
          expect(Number.isFinite(s)).toBe(true);
        });
        const made = quantizeBias(b, inputScale, scales);
        made.values.forEach((q, i) => {
          expect(Math.abs(q)).toBeLessThan(2 ** 31 - 1);
          const error = Math.abs(q * made.scales[i]! - b[i]!);
          expect(error).toBeLessThanOrEqual(0.5001 * made.scales[i]! + 1e-12 * Math.abs(b[i]!));
        });
      }),
    );
  });

  it('serves all channels with the one scale of a per-tensor weight', () => {
    const bias = Float32Array.of(1, -8, 1e6);
    const { scales, raised } = guardBiasScales(bias, 1e-3, Float32Array.of(1e-6));
    expect(raised).toEqual([0]);
    expect(scales[0]! * 1e-3 * 2 ** 31).toBeGreaterThan(1e6);
    const { values } = quantizeBias(bias, 1e-3, scales);
    expect(values[2]! * scales[0]! * 1e-3).toBeCloseTo(1e6, 0);
  });
});

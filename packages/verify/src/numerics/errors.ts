import type { HostTensor } from '@pare/core';
import { type Numbers, toNumbers } from '@pare/core';
import type { ErrorSummary } from '../evidence.js';

/**
 * Errors of one tensor, summed as samples stream by: memory does not grow with their number. Elements that are not finite on
 * either side are counted and left out of the sums.
 */
export class ErrorSums {
  elements = 0;
  identical = true;
  nonFiniteOriginal = 0;
  nonFiniteVariant = 0;
  #dot = 0;
  #original = 0;
  #variant = 0;
  #error = 0;
  #absolute = 0;
  #finite = 0;
  #maxAbs = 0;
  #maxRel = 0;

  /** Adds one sample. Returns its cosine, or undefined when one side is all zeros. */
  add(original: HostTensor, variant: HostTensor): number | undefined {
    const a = toNumbers(original);
    const b = toNumbers(variant);
    const n = Math.min(a.length, b.length);
    if (a.length !== b.length) this.identical = false;
    const floor = 1e-6 * largest(a);
    let [dot, aa, bb, ee, abs, finite] = [0, 0, 0, 0, 0, 0];
    let { maxAbs, maxRel, identical } = { maxAbs: this.#maxAbs, maxRel: this.#maxRel, identical: this.identical };
    for (let i = 0; i < n; i++) {
      const x = a[i] as number;
      const y = b[i] as number;
      const e = y - x;
      // NaN for any pair with a NaN or an infinity; equal infinities too.
      if (e - e !== 0) {
        if (x - x !== 0) this.nonFiniteOriginal++;
        if (y - y !== 0) this.nonFiniteVariant++;
        if (!Object.is(x, y)) identical = false;
        continue;
      }
      finite++;
      dot += x * y;
      aa += x * x;
      bb += y * y;
      if (e === 0) continue;
      identical = false;
      const size = e < 0 ? -e : e;
      const magnitude = x < 0 ? -x : x;
      ee += e * e;
      abs += size;
      if (size > maxAbs) maxAbs = size;
      const relative = size / Math.max(magnitude, floor);
      if (relative > maxRel) maxRel = relative;
    }
    this.elements += n;
    this.#finite += finite;
    this.#dot += dot;
    this.#original += aa;
    this.#variant += bb;
    this.#error += ee;
    this.#absolute += abs;
    this.#maxAbs = maxAbs;
    this.#maxRel = maxRel;
    this.identical = identical;
    return cosineOfSums(dot, aa, bb);
  }

  /** Sum of squared errors over sum of squared originals; undefined without signal. */
  get relativeSquare(): number | undefined {
    return this.#original > 0 ? this.#error / this.#original : undefined;
  }

  summary(): ErrorSummary {
    const relative = this.relativeSquare;
    return {
      elements: this.elements,
      identical: this.identical,
      cosine: cosineOfSums(this.#dot, this.#original, this.#variant) ?? null,
      maxAbs: finite(this.#maxAbs),
      maxRel: finite(this.#maxRel),
      meanAbs: finite(this.#absolute / this.#finite),
      relativeRmse: relative === undefined ? null : finite(Math.sqrt(relative)),
      sqnrDb: relative ? finite(-10 * Math.log10(relative)) : null,
      nonFiniteOriginal: this.nonFiniteOriginal,
      nonFiniteVariant: this.nonFiniteVariant,
    };
  }
}

function cosineOfSums(dot: number, aa: number, bb: number): number | undefined {
  if (aa === 0 || bb === 0) return undefined;
  // Without the roots where they cancel: a tensor and itself have the cosine 1 exactly.
  const norms = aa === bb ? aa : Math.sqrt(aa) * Math.sqrt(bb);
  return Math.max(-1, Math.min(1, dot / norms));
}

function largest(values: Numbers): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) {
    const v = Math.abs(values[i] as number);
    if (v > max && v - v === 0) max = v;
  }
  return max;
}

const finite = (v: number): number | null => (Number.isFinite(v) ? v : null);

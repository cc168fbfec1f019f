import type { AccuracyEvidence, Gates, Recommendation, VariantEvidence, Verdict } from './evidence.js';

/** Smaller by less than this is the same size. */
const SIZE_GAIN = 0.98;

/** A rule that a variant may break: the sentence that says how, or undefined. */
type Rule = (variant: VariantEvidence, original: VariantEvidence, gates: Gates) => string | undefined;

/** Each refuses a variant; the first that is broken is the deciding reason. */
const RULES: readonly Rule[] = [
  ({ numerics }) => {
    const bad = numerics?.outputs.find((o) => o.nonFiniteVariant > o.nonFiniteOriginal);
    return (
      bad && `Output "${bad.name}" is NaN or infinite in ${bad.nonFiniteVariant} places where the original is not.`
    );
  },
  ({ accuracy }) => {
    const drop = accuracy?.drop;
    if (!accuracy || !drop?.gate || drop.gate.verdict !== 'fails') return undefined;
    return `Loses ${amount(drop.value, accuracy)} of ${accuracy.metric}, more than the ${amount(drop.gate.limit, accuracy)} allowed.`;
  },
  ({ accuracy }, _, { maxDrop }) =>
    maxDrop !== undefined && accuracy && accuracy.drop === null
      ? `Its drop of ${accuracy.metric} is not a number, so the gate of ${amount(maxDrop, accuracy)} cannot hold.`
      : undefined,
  ({ numerics }, _, { minCosine }) => {
    const worst = numerics?.outputs.find((o) => minCosine !== undefined && o.cosine !== null && o.cosine < minCosine);
    return (
      worst &&
      `The cosine of output "${worst.name}" to the original's is ${worst.cosine?.toFixed(5)}, below ${minCosine}.`
    );
  },
  ({ performance }, _, { maxP95Ms }) =>
    performance && maxP95Ms !== undefined && performance.latency.p95 > maxP95Ms
      ? `Its p95 latency is ${performance.latency.p95.toFixed(2)} ms, above ${maxP95Ms} ms.`
      : undefined,
  ({ bytes }, _, { maxBytes }) =>
    maxBytes !== undefined && bytes > maxBytes ? `It has ${bytes} bytes, more than ${maxBytes}.` : undefined,
  (variant, original) => {
    const speedup = variant.performance?.speedup;
    if (!speedup || speedup.verdict === 'faster' || variant.bytes < original.bytes * SIZE_GAIN) return undefined;
    return speedup.verdict === 'slower'
      ? `It is slower than the original (${times(speedup.ratio)}) and not smaller.`
      : 'It is neither faster nor smaller than the original.';
  },
];

/**
 * Verdicts by the gates and by comparison with the original, which is the first. A variant is refused when it breaks a gate,
 * answers NaN where the original does not, or is neither smaller nor faster.
 */
export function judge(variants: readonly VariantEvidence[], gates: Gates = {}): VariantEvidence[] {
  const original = variants[0] as VariantEvidence;
  return variants.map((variant) => {
    if (variant.isOriginal) return { ...variant, verdict: { status: 'accepted', reasons: ['The original.'] } };
    const broken = RULES.map((rule) => rule(variant, original, gates)).filter((reason) => reason !== undefined);
    const verdict: Verdict =
      broken.length > 0
        ? { status: 'refused', reasons: broken }
        : { status: 'accepted', reasons: describe(variant, original) };
    return { ...variant, verdict };
  });
}

/**
 * The variant to ship: of the accepted ones that are faster than the original the fastest, by the careful end of its interval.
 * When none is faster, the original.
 */
export function recommend(variants: readonly VariantEvidence[]): Recommendation {
  const original = variants.find((v) => v.isOriginal)?.name ?? 'original';
  const candidates = variants.filter((v) => !v.isOriginal && v.verdict.status !== 'refused');
  const faster = candidates.filter((v) => v.performance?.speedup?.verdict === 'faster');
  const low = (v: VariantEvidence): number => v.performance?.speedup?.interval.low ?? 0;
  const best = faster.sort((a, b) => low(b) - low(a) || a.bytes - b.bytes)[0];
  if (best?.performance?.speedup) {
    const { ratio, interval } = best.performance.speedup;
    return {
      variant: best.name,
      reason:
        `The fastest that holds the gates: ${times(ratio)} the speed of the original ` +
        `(95% interval ${times(interval.low)} to ${times(interval.high)}). ${best.verdict.reasons[0] ?? ''}`.trim(),
    };
  }
  const unmeasured = candidates.every((v) => !v.performance);
  return {
    variant: original,
    reason:
      candidates.length === 0
        ? 'No variant holds the gates: keep the original.'
        : unmeasured
          ? 'Speed was not measured, so nothing is known to be better than the original.'
          : 'No variant that holds the gates is measurably faster: keep the original.',
  };
}

/** Marks the recommended variant. */
export function withRecommendation(
  variants: readonly VariantEvidence[],
  recommendation: Recommendation,
): VariantEvidence[] {
  return variants.map((v) =>
    v.name === recommendation.variant ? { ...v, verdict: { ...v.verdict, status: 'recommended' } } : v,
  );
}

/** What an accepted variant is like, accuracy first. */
function describe(variant: VariantEvidence, original: VariantEvidence): string[] {
  const reasons: string[] = [];
  const { accuracy, performance, numerics } = variant;
  const drop = accuracy?.drop;
  if (accuracy && drop) {
    const p = `p = ${drop.test.pValue < 0.001 ? '< 0.001' : drop.test.pValue.toFixed(3)}`.replace('= <', '<');
    reasons.push(
      drop.verdict === 'no difference measured'
        ? `No difference of ${accuracy.metric} measured (${p}).`
        : `${accuracy.metric} is ${drop.verdict} by ${amount(Math.abs(drop.value), accuracy)} (${p}).`,
    );
    if (drop.gate?.verdict === 'holds') {
      reasons.push(`The drop is within the gate, but ${accuracy.samples} samples do not prove it.`);
    }
  }
  if (performance?.speedup) {
    const { ratio, verdict } = performance.speedup;
    reasons.push(
      verdict === 'no difference measured'
        ? 'No difference of speed measured.'
        : `${times(ratio)} the speed of the original.`,
    );
  }
  if (variant.bytes < original.bytes * SIZE_GAIN) {
    reasons.push(`${((100 * variant.bytes) / original.bytes).toFixed(0)}% of the original's size.`);
  }
  if (numerics?.saturation?.verdict === 'saturates') reasons.push(numerics.saturation.reason);
  return reasons;
}

function amount(value: number, { format }: Pick<AccuracyEvidence, 'format'>): string {
  return format === 'percent' ? `${(100 * value).toFixed(2)} points` : value.toPrecision(3);
}

const times = (ratio: number): string => `${ratio.toFixed(2)}x`;

import type { Gates, MeasuredVariant, Recommendation, Verdict } from '@pare/verify';
import type { Goal } from './goal.js';

export interface Judgement {
  /** In the order of the variants. */
  readonly verdicts: readonly Verdict[];
  readonly recommendation: Recommendation;
}

/** What the recommended variant is chosen by. */
type Wanted = Goal | 'size, speed unknown';

/** Without data to score, outputs must at least point the same way as the original's. */
export const BLIND_MIN_COSINE = 0.99;

/**
 * Decides which variants may ship and which one to take. A variant is refused when a gate fails, when it gives numbers that
 * are not finite where the original's are, when its integer kernels saturate, when it is neither smaller nor faster than the
 * original, or, where latency is the goal, when it is slower; without a goal (null), speed and size refuse nothing beyond the
 * gates. Recommended is the fastest (goal `latency` or none) or smallest (`size`) of the rest; one that is slower than the
 * original never is, and with goal `latency` nothing but a variant that is measurably faster is. Where no speed was measured
 * nothing can be said of it: the smallest is recommended, whatever the goal.
 */
export function judge(variants: readonly MeasuredVariant[], gates: Gates, goal: Goal | null = 'latency'): Judgement {
  const original = variants.find((v) => v.isOriginal);
  const wanted: Wanted = original?.performance ? (goal ?? 'latency') : 'size, speed unknown';
  const refusals = variants.map((v) => (v.isOriginal || !original ? [] : refusalsOf(v, original, gates, goal)));
  const candidates = variants.filter((v, i) => !v.isOriginal && refusals[i]?.length === 0);
  const best = original && pick(candidates, original, wanted);
  const recommendation: Recommendation = best
    ? { variant: best.name, reason: praise(best, original, wanted) }
    : { variant: original?.name ?? 'original', reason: stay(variants, candidates, gates, wanted) };
  const verdicts = variants.map((variant, i): Verdict => {
    const reasons = refusals[i] ?? [];
    if (reasons.length > 0) return { status: 'refused', reasons };
    if (variant.name === recommendation.variant) {
      return { status: 'recommended', reasons: [recommendation.reason, ...caveats(variant)] };
    }
    return {
      status: 'accepted',
      reasons: [variant.isOriginal ? 'What everything is compared with.' : summary(variant)],
    };
  });
  return { verdicts, recommendation };
}

function refusalsOf(variant: MeasuredVariant, original: MeasuredVariant, gates: Gates, goal: Goal | null): string[] {
  return [
    ...gateFailures(variant, gates),
    ...nonFinite(variant),
    ...saturation(variant),
    ...(goal === null ? [] : pointless(variant, original, goal)),
  ];
}

/** The gates that a variant fails, or the original itself (of size and latency), a sentence each. */
export function gateFailures(variant: MeasuredVariant, gates: Gates): string[] {
  const failures: string[] = [];
  const { accuracy, performance, numerics } = variant;
  const drop = variant.isOriginal ? undefined : accuracy?.drop;
  if (accuracy && drop && gates.maxDrop !== undefined && drop.value > gates.maxDrop) {
    const unit = (n: number): string =>
      accuracy.format === 'percent' ? `${(n * 100).toFixed(2)} %` : n.toPrecision(3);
    failures.push(`${accuracy.metric} drops by ${unit(drop.value)}, more than the ${unit(gates.maxDrop)} allowed.`);
  }
  if (accuracy && drop === null && gates.maxDrop !== undefined) {
    failures.push(`Its drop of ${accuracy.metric} is not a number, so the gate on it cannot hold.`);
  }
  const p95 = performance?.latency.p95;
  if (p95 === undefined && gates.maxP95Ms !== undefined) {
    failures.push('Its latency was not measured, so the gate on p95 cannot hold.');
  }
  if (p95 !== undefined && gates.maxP95Ms !== undefined && p95 > gates.maxP95Ms) {
    failures.push(`p95 is ${p95.toFixed(1)} ms, over the limit of ${gates.maxP95Ms} ms.`);
  }
  if (gates.maxBytes !== undefined && variant.bytes > gates.maxBytes) {
    failures.push(`It has ${size(variant.bytes)}, over the limit of ${size(gates.maxBytes)}.`);
  }
  const minCosine = gates.minCosine ?? (accuracy ? undefined : BLIND_MIN_COSINE);
  for (const output of numerics?.outputs ?? []) {
    if (minCosine !== undefined && output.cosine !== null && output.cosine < minCosine) {
      const why = gates.minCosine === undefined ? ' (accuracy was not measured)' : '';
      failures.push(
        `Output "${output.name}" has cosine ${output.cosine.toFixed(4)} to the original, under ${minCosine}${why}.`,
      );
    }
  }
  return failures;
}

function nonFinite(variant: MeasuredVariant): string[] {
  const outputs = variant.numerics?.outputs ?? [];
  const bad = outputs.find((o) => o.nonFiniteVariant > o.nonFiniteOriginal);
  const reasons = bad
    ? [
        `Output "${bad.name}" has ${bad.nonFiniteVariant} NaN or infinite elements on the data; the original has ${bad.nonFiniteOriginal}.`,
      ]
    : [];
  const extreme = variant.stability?.extremes.find((e) => e.verdict === 'failed' && e.name !== 'integer limits');
  if (extreme) reasons.push(`It fails on ${extreme.input}: ${extreme.error ?? 'no message'}`);
  return reasons;
}

function saturation(variant: MeasuredVariant): string[] {
  const found = variant.numerics?.saturation;
  return found?.verdict === 'saturates' ? [`Integer kernels saturate on this CPU: ${found.reason}`] : [];
}

/** A variant has to be better at something, and at what is wanted not worse. */
function pointless(variant: MeasuredVariant, original: MeasuredVariant, goal: Goal): string[] {
  const smaller = variant.bytes < original.bytes * 0.98;
  const speed = variant.performance?.speedup;
  const sizes = `${size(variant.bytes)} against ${size(original.bytes)}`;
  if (speed?.verdict === 'slower') {
    if (!smaller) return [`Slower and not smaller: ${ratioText(variant)}, ${sizes}.`];
    return goal === 'latency'
      ? [`Slower than the original: ${ratioText(variant)}. It is smaller (${sizes}): ask for size to get it.`]
      : [];
  }
  if (smaller || speed?.verdict === 'faster') return [];
  return [speed ? `Neither smaller (${sizes}) nor faster (${ratioText(variant)}).` : `Not smaller: ${sizes}.`];
}

function pick(
  candidates: readonly MeasuredVariant[],
  original: MeasuredVariant,
  wanted: Wanted,
): MeasuredVariant | undefined {
  const ratio = (v: MeasuredVariant): number => v.performance?.speedup?.ratio ?? 0;
  if (wanted !== 'latency') {
    return candidates
      .filter((v) => v.performance?.speedup?.verdict !== 'slower' && v.bytes < original.bytes)
      .sort((a, b) => a.bytes - b.bytes || ratio(b) - ratio(a))[0];
  }
  const faster = candidates.filter((v) => v.performance?.speedup?.verdict === 'faster');
  const fastest = faster.sort((a, b) => ratio(b) - ratio(a))[0];
  if (!fastest) return undefined;
  // Speeds that the measurement cannot tell apart are settled by the smaller drop, then by the smaller file.
  const low = fastest.performance?.speedup?.interval.low ?? 0;
  const level = faster.filter((v) => (v.performance?.speedup?.interval.high ?? 0) >= low && ratio(v) >= low);
  const drop = (v: MeasuredVariant): number => (v.accuracy?.drop?.verdict === 'worse' ? v.accuracy.drop.value : 0);
  return level.sort((a, b) => drop(a) - drop(b) || a.bytes - b.bytes || ratio(b) - ratio(a))[0];
}

function praise(best: MeasuredVariant, original: MeasuredVariant, wanted: Wanted): string {
  const share = `${((best.bytes / original.bytes) * 100).toFixed(0)} % of the size`;
  const words: Record<Wanted, string> = {
    latency: `The fastest that holds the gates: ${ratioText(best)}, ${share}`,
    size: `The smallest that is not slower: ${share}, ${ratioText(best)}`,
    'size, speed unknown': `The smallest that holds the gates, with no word on its speed, which was not measured: ${share}`,
  };
  return `${words[wanted]}, ${dropText(best)}.`;
}

function stay(
  variants: readonly MeasuredVariant[],
  candidates: readonly MeasuredVariant[],
  gates: Gates,
  wanted: Wanted,
): string {
  const original = variants.find((v) => v.isOriginal);
  const failures = original ? gateFailures(original, gates) : [];
  const itself = failures.length > 0 ? ` But it fails itself: ${failures.join(' ')}` : '';
  return `${whyStay(variants, candidates, gates, wanted)}${itself}`;
}

function whyStay(
  variants: readonly MeasuredVariant[],
  candidates: readonly MeasuredVariant[],
  gates: Gates,
  wanted: Wanted,
): string {
  const others = variants.filter((v) => !v.isOriginal);
  if (others.length === 0) return 'No variant could be built for this target.';
  if (others.every((v) => gateFailures(v, gates).length > 0)) return 'No variant holds the gates.';
  if (candidates.length === 0) return 'No variant that holds the gates is better.';
  const words: Record<Wanted, string> = {
    latency: 'is measurably faster. (Others that hold them are in the table.)',
    size: 'is smaller without being slower.',
    'size, speed unknown': 'is smaller, and speed was not measured.',
  };
  return `No variant that holds the gates ${words[wanted]}`;
}

/** What the numbers leave open. */
function caveats({ accuracy }: MeasuredVariant): string[] {
  if (accuracy?.drop?.gate?.verdict !== 'holds') return [];
  return [`The drop is within the gate, but ${accuracy.samples} samples do not prove it.`];
}

const summary = (variant: MeasuredVariant): string => `Holds the gates: ${ratioText(variant)}, ${dropText(variant)}.`;

function ratioText(variant: MeasuredVariant): string {
  const speed = variant.performance?.speedup;
  if (!speed) return 'speed not measured';
  const { low, high } = speed.interval;
  const range = `${speed.ratio.toFixed(2)}× (${low.toFixed(2)} to ${high.toFixed(2)})`;
  return speed.verdict === 'no difference measured'
    ? `no difference in speed measured, ${range}`
    : `${range} the speed`;
}

/** `top-1 worse by 0.52 points`. */
export function dropText(variant: MeasuredVariant): string {
  const { accuracy, numerics } = variant;
  if (!accuracy?.drop) {
    const cosine = numerics?.outputs[0]?.cosine;
    return cosine == null ? 'accuracy not measured' : `accuracy not measured, cosine ${cosine.toFixed(4)}`;
  }
  const { value, verdict } = accuracy.drop;
  if (verdict === 'no difference measured') return `no difference in ${accuracy.metric} measured`;
  const points =
    accuracy.format === 'percent' ? `${Math.abs(value * 100).toFixed(2)} points` : Math.abs(value).toPrecision(3);
  return `${accuracy.metric} ${value > 0 ? 'worse' : 'better'} by ${points}`;
}

function size(bytes: number): string {
  const [unit, scale] = bytes < 1e6 ? (['kB', 1e3] as const) : bytes < 1e9 ? (['MB', 1e6] as const) : ['GB', 1e9];
  return `${(bytes / scale).toPrecision(3)} ${unit}`;
}

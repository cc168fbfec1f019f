import type { AccuracyEvidence, Evidence, VariantEvidence } from '../evidence.js';
import { formatDifference, formatInterval, formatP, type ValueFormat } from './format.js';

/** How a variant is drawn: what it is among the others. */
export type Kind = 'original' | 'recommended' | 'accepted' | 'refused';

export function kindOf(variant: VariantEvidence): Kind {
  if (variant.verdict.status === 'recommended') return 'recommended';
  return variant.isOriginal ? 'original' : variant.verdict.status;
}

export function originalOf({ variants }: Evidence): VariantEvidence | undefined {
  return variants.find((v) => v.isOriginal);
}

export function recommendedOf({ variants, recommendation }: Evidence): VariantEvidence | undefined {
  return variants.find((v) => v.name === recommendation.variant);
}

/**
 * The variant to look at closely, among those that `has` something to show: the recommended one; where that is the original,
 * the best of the others.
 */
export function focusOf(evidence: Evidence, has: (variant: VariantEvidence) => boolean): VariantEvidence | undefined {
  const others = evidence.variants.filter((v) => !v.isOriginal && has(v));
  return (
    others.find((v) => v.name === evidence.recommendation.variant) ??
    others.find((v) => v.verdict.status === 'accepted') ??
    others[0]
  );
}

export function accuracyMeasured({ variants }: Evidence): boolean {
  return variants.some((v) => v.accuracy !== null && v.accuracy.value !== null);
}

/** The worst cosine of the outputs; null when none was measured. */
export function cosineOf({ numerics }: VariantEvidence): number | null {
  const all = (numerics?.outputs ?? []).flatMap((o) => (o.cosine === null ? [] : [o.cosine]));
  return all.length > 0 ? Math.min(...all) : null;
}

/** The metric of the run, as the first variant that has it tells it. */
export function metricOf({
  variants,
}: Evidence): Pick<AccuracyEvidence, 'metric' | 'format' | 'higherIsBetter' | 'reference'> | null {
  return variants.find((v) => v.accuracy !== null)?.accuracy ?? null;
}

/** `worse`, `better`, or `no difference measured`, with the test that says so. */
export function dropVerdict({ drop }: AccuracyEvidence): string | null {
  if (drop === null) return null;
  const test = { 'mcnemar-exact': 'exact McNemar', mcnemar: 'McNemar', 'paired-bootstrap': 'paired bootstrap' };
  return `${drop.verdict} (${test[drop.test.name]}, ${formatP(drop.test.pValue)})`;
}

export function dropText({ drop, format }: AccuracyEvidence): { value: string; interval: string } | null {
  if (drop === null) return null;
  return {
    value: formatDifference(drop.value, format),
    interval: formatInterval(drop.interval, differenceFormat(format)),
  };
}

function differenceFormat(format: ValueFormat): 'difference' | 'number' {
  return format === 'percent' ? 'difference' : 'number';
}

/** One gate, and whether a variant holds it. */
export interface GateResult {
  readonly text: string;
  readonly state: 'holds' | 'fails' | 'unknown';
}

export function gatesOf(evidence: Evidence, variant: VariantEvidence): GateResult[] {
  const { maxDrop, maxP95Ms, maxBytes, minCosine } = evidence.options.gates;
  const results: GateResult[] = [];
  const add = (text: string, holds: boolean | null): void => {
    results.push({ text, state: holds === null ? 'unknown' : holds ? 'holds' : 'fails' });
  };
  const format = metricOf(evidence)?.format ?? 'percent';
  if (maxDrop !== undefined) {
    const gate = variant.accuracy?.drop?.gate ?? null;
    const proven =
      gate === null
        ? ''
        : gate.verdict === 'proven'
          ? ', proven by the interval'
          : gate.verdict === 'holds'
            ? ', not proven: the interval reaches over it'
            : '';
    add(
      `drop at most ${formatDifference(maxDrop, format)}${proven}`,
      variant.isOriginal ? true : gate === null ? null : gate.verdict !== 'fails',
    );
  }
  const p95 = variant.performance?.latency.p95;
  if (maxP95Ms !== undefined) add(`p95 at most ${maxP95Ms} ms`, p95 === undefined ? null : p95 <= maxP95Ms);
  if (maxBytes !== undefined) add(`at most ${(maxBytes / 1e6).toFixed(2)} MB`, variant.bytes <= maxBytes);
  const cosine = cosineOf(variant);
  if (minCosine !== undefined)
    add(`cosine at least ${minCosine}`, variant.isOriginal ? true : cosine === null ? null : cosine >= minCosine);
  return results;
}

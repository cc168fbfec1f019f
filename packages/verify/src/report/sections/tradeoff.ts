import type { Evidence, VariantEvidence } from '../../evidence.js';
import type { Axis } from '../charts/axes.js';
import { type ScatterPoint, scatter } from '../charts/scatter.js';
import {
  capitalize,
  formatBytes,
  formatInterval,
  formatMs,
  formatNumber,
  formatRatio,
  formatValue,
} from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { glyph, section } from '../parts.js';
import { linearScale, logScale } from '../scale.js';
import { type Kind, kindOf, metricOf } from '../view.js';

/** What is gained and what it costs: size, latency and accuracy of every variant, and the Pareto front. */
export function tradeoff(evidence: Evidence): Html {
  const { variants } = evidence;
  const metric = metricOf(evidence);
  const scored = variants.filter((v) => v.accuracy !== null && v.accuracy.value !== null);
  const timed = variants.filter((v) => v.performance !== null);
  const charts: Html[] = [];
  if (metric && scored.length > 1) {
    const values = scored.flatMap((v) =>
      [v.accuracy?.value ?? 0, v.accuracy?.interval?.low ?? 0, v.accuracy?.interval?.high ?? 0].slice(
        0,
        v.accuracy?.interval ? 3 : 1,
      ),
    );
    const y: Axis = {
      scale: linearScale(values, metric.format === 'percent' ? { max: 1 } : {}),
      title: `${capitalize(metric.metric)}, ${metric.higherIsBetter ? 'higher' : 'lower'} is better`,
      format: (v) => (metric.format === 'percent' ? `${Number((v * 100).toPrecision(4))}%` : formatNumber(v)),
    };
    const better = metric.higherIsBetter ? 'higher' : 'lower';
    const range = (v: VariantEvidence): [number, number] | undefined =>
      v.accuracy?.interval ? [v.accuracy.interval.low, v.accuracy.interval.high] : undefined;
    const point =
      (x: number) =>
      (v: VariantEvidence): ScatterPoint => ({ ...common(v), x, y: v.accuracy?.value ?? 0, yRange: range(v) });
    const both = scored.filter((v) => v.performance !== null);
    if (both.length > 1)
      charts.push(
        scatter(
          both.map((v) => point(v.performance?.latency.p50 ?? 0)(v)),
          {
            label: `${metric.metric} against median latency`,
            x: latencyAxis(both),
            y,
            better,
          },
        ),
      );
    charts.push(
      scatter(
        scored.map((v) => point(v.bytes)(v)),
        { label: `${metric.metric} against size`, x: sizeAxis(scored), y, better },
      ),
    );
  } else if (timed.length > 1) {
    const y: Axis = { ...latencyAxis(timed), title: 'Median latency, lower is better' };
    charts.push(
      scatter(
        timed.map((v) => ({ ...common(v), x: v.bytes, y: v.performance?.latency.p50 ?? 0 })),
        { label: 'Median latency against size', x: sizeAxis(timed), y, better: 'lower' },
      ),
    );
  }
  if (charts.length === 0) return html``;
  const kinds = [...new Set(variants.map(kindOf))];
  const legend: Content = kinds.map((kind: Kind) => html`<span>${glyph(kind)}${kind}</span>`);
  return section(
    'tradeoff',
    'Trade-off',
    metric && scored.length > 1
      ? 'The dashed staircase is the Pareto front: nothing that holds the gates lies beyond it. Whiskers are 95% intervals.'
      : 'The dashed staircase is the Pareto front: nothing that holds the gates lies beyond it.',
    html`<div class="charts">${charts.map((c) => html`<figure>${c}</figure>`)}</div><p class="legend">${legend}<span><svg width="22" height="8" aria-hidden="true"><line class="front" x1="0" x2="22" y1="4" y2="4"/></svg>Pareto front</span></p>`,
  );
}

function common(v: VariantEvidence): Pick<ScatterPoint, 'name' | 'kind' | 'details'> {
  const { performance, accuracy } = v;
  return {
    name: v.name,
    kind: kindOf(v),
    details: [
      formatBytes(v.bytes),
      ...(performance
        ? [
            `p50 ${formatMs(performance.latency.p50)}${performance.speedup ? `, ${formatRatio(performance.speedup.ratio)} (${formatInterval(performance.speedup.interval, 'ratio')})` : ''}`,
          ]
        : []),
      ...(accuracy
        ? [
            `${accuracy.metric} ${formatValue(accuracy.value, accuracy.format)} (${formatInterval(accuracy.interval, accuracy.format)})`,
          ]
        : []),
    ],
  };
}

function latencyAxis(variants: readonly VariantEvidence[]): Axis {
  const values = variants.map((v) => v.performance?.latency.p50 ?? 1e-6);
  return { scale: spread(values), title: 'Median latency, log scale', format: formatMs };
}

function sizeAxis(variants: readonly VariantEvidence[]): Axis {
  return { scale: spread(variants.map((v) => Math.max(1, v.bytes))), title: 'Size, log scale', format: formatBytes };
}

function spread(values: readonly number[]): ReturnType<typeof logScale> {
  return logScale(values, 0.12);
}

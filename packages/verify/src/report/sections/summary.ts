import type { Evidence, VariantEvidence } from '../../evidence.js';
import { bar } from '../charts/bars.js';
import {
  capitalize,
  formatBytes,
  formatCosine,
  formatInterval,
  formatMs,
  formatRatio,
  formatValue,
  NONE,
} from '../format.js';
import { type Html, html } from '../html.js';
import { type Column, chip, nameOf, stacked, table } from '../parts.js';
import { cosineOf, dropText, kindOf, metricOf } from '../view.js';

/** Every measured variant in one line of numbers. */
export function summary(evidence: Evidence): Html {
  const { variants } = evidence;
  const largest = Math.max(1, ...variants.map((v) => v.bytes));
  const metric = metricOf(evidence);
  const columns: Column<VariantEvidence>[] = [
    { title: 'Variant', kind: 'text', cell: nameOf, sort: (v) => v.name },
    {
      title: 'Size',
      cell: (v) => html`<span class="value">${formatBytes(v.bytes)}</span>${bar(v.bytes / largest, kindOf(v))}`,
      sort: (v) => v.bytes,
      hint: 'Model file and external data',
    },
  ];
  if (variants.some((v) => v.performance)) {
    columns.push(
      {
        title: 'p50',
        cell: (v) => latency(v, 'p50'),
        sort: (v) => v.performance?.latency.p50 ?? null,
        hint: 'Median latency',
      },
      {
        title: 'p95',
        cell: (v) => latency(v, 'p95'),
        sort: (v) => v.performance?.latency.p95 ?? null,
        hint: '95th percentile of the latency',
      },
      {
        title: 'Speed-up',
        cell: ({ performance, isOriginal }) => {
          const s = performance?.speedup;
          if (!s) return isOriginal ? html`<span class="below">1</span>` : NONE;
          const tone = s.verdict === 'faster' ? 'good' : s.verdict === 'slower' ? 'bad' : 'even';
          return stacked(formatRatio(s.ratio), formatInterval(s.interval, 'ratio'), tone);
        },
        sort: (v) => v.performance?.speedup?.ratio ?? (v.isOriginal ? 1 : null),
        hint: 'Median latency of the original over the variant’s, with its 95% interval',
      },
    );
  }
  if (metric) {
    columns.push(
      {
        title: capitalize(metric.metric),
        cell: ({ accuracy }) =>
          accuracy
            ? stacked(formatValue(accuracy.value, accuracy.format), formatInterval(accuracy.interval, accuracy.format))
            : NONE,
        sort: (v) => v.accuracy?.value ?? null,
        hint: `With its 95% interval; ${metric.higherIsBetter ? 'higher' : 'lower'} is better`,
      },
      {
        title: 'Drop',
        cell: ({ accuracy }) => {
          const drop = accuracy && dropText(accuracy);
          if (!accuracy?.drop || !drop) return NONE;
          const tone = { worse: 'bad', better: 'good', 'no difference measured': 'even' }[accuracy.drop.verdict];
          return stacked(drop.value, drop.interval, tone);
        },
        sort: (v) => v.accuracy?.drop?.value ?? null,
        hint: 'How much worse than the original on the same samples, with its 95% interval; negative is better',
      },
    );
  }
  if (variants.some((v) => cosineOf(v) !== null))
    columns.push({
      title: 'Cosine',
      cell: (v) => formatCosine(cosineOf(v)),
      sort: cosineOf,
      hint: 'Between the outputs and the original’s; of the worst output',
    });
  columns.push({
    title: 'Verdict',
    kind: 'text',
    cell: (v) => chip(kindOf(v)),
    sort: (v) => ['recommended', 'accepted', 'refused'].indexOf(v.verdict.status),
  });
  return html`
<div class="wide" id="variants">
<h2>Variants</h2>
${table('All measured variants', variants, columns, { rowClass: kindOf, className: 'summary' })}
<p class="note">Below a number: its 95% interval. <span class="good">Green</span> and <span class="bad">red</span> mark differences that the measurement can tell from noise${metric && '; a drop is judged by a paired test on the same samples'}.</p>
</div>`;
}

function latency({ performance }: VariantEvidence, key: 'p50' | 'p95'): string {
  return performance ? formatMs(performance.latency[key]) : NONE;
}

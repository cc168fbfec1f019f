import type { Evidence, PerformanceEvidence, VariantEvidence } from '../../evidence.js';
import { share, thinTicks } from '../charts/axes.js';
import { sparkline } from '../charts/bars.js';
import { densityCurve } from '../charts/density.js';
import { formatBytes, formatMs, formatNumber, NONE, plural } from '../format.js';
import { type Content, html } from '../html.js';
import { type Column, nameOf, section, table } from '../parts.js';
import { linearScale, logScale, type Scale } from '../scale.js';
import { kindOf } from '../view.js';

type Timed = VariantEvidence & { readonly performance: PerformanceEvidence };

/** Latency as distributions, throughput by batch size, start and memory. */
export function performance({ variants }: Evidence): Content {
  const timed = variants.filter((v): v is Timed => v.performance !== null);
  if (timed.length === 0) return null;
  return [latencies(timed), throughput(timed), start(timed)];
}

function latencies(timed: readonly Timed[]): Content {
  const first = (timed[0] as Timed).performance;
  const scale = latencyScale(timed);
  const columns: Column<Timed>[] = [
    { title: 'Variant', kind: 'text', cell: nameOf, sort: (v) => v.name },
    {
      title: axis(scale),
      kind: 'chart',
      cell: (v) =>
        densityCurve(
          {
            sample: v.performance.distribution,
            p50: v.performance.latency.p50,
            p95: v.performance.latency.p95,
            kind: kindOf(v),
          },
          scale,
          `Latencies of ${v.name}`,
        ),
    },
    ...(['p50', 'p90', 'p95', 'p99'] as const).map(
      (key): Column<Timed> => ({
        title: key,
        cell: (v) => formatMs(v.performance.latency[key]),
        sort: (v) => v.performance.latency[key],
      }),
    ),
    {
      title: 'Rounds',
      kind: 'chart',
      cell: (v) => sparkline(v.performance.roundMedians),
      hint: 'Median of each round, in order: a slope is drift of the machine',
    },
  ];
  return section(
    'latency',
    'Latency',
    html`${plural(first.latency.runs, 'run')} of each variant in ${plural(first.rounds, 'interleaved round')} after ${plural(first.warmupRuns, 'warm-up run')}, batch ${first.batch}, ${plural(first.threads, 'thread')}. The solid line is the median, the dotted one p95; below the curve, every run.`,
    table('Latency of each variant', timed, columns, { className: 'latency' }),
    'full',
  );
}

/** From the fastest to the slowest that matters; beyond p99 of the slowest, tails are numbers only. */
function latencyScale(timed: readonly Timed[]): Scale {
  const low = Math.min(...timed.map((v) => v.performance.latency.min));
  const high = Math.max(...timed.map((v) => Math.max(v.performance.latency.p95, v.performance.latency.p50 * 1.1)));
  const ends = [low * 0.98, high * 1.04];
  return high / low > 2.5 ? logScale(ends, 0.02) : linearScale(ends, { count: 4 });
}

function axis(scale: Scale): Content {
  return html`<span class="hidden">Distribution</span><svg class="axis-row" width="100%" height="14" aria-hidden="true">${thinTicks(
    { scale, format: formatMs },
    300,
  ).map(([at, text]) => html`<text class="tick" x="${share(at)}" y="11" text-anchor="middle">${text}</text>`)}</svg>`;
}

function throughput(timed: readonly Timed[]): Content {
  const batches = [...new Set(timed.flatMap((v) => v.performance.throughput.map((t) => t.batch)))].sort(
    (a, b) => a - b,
  );
  if (batches.length < 2) return null;
  const of = (v: Timed, batch: number) => v.performance.throughput.find((t) => t.batch === batch);
  const best = new Map(
    batches.map((b) => [
      b,
      Math.max(...timed.map((v) => (kindOf(v) === 'refused' ? 0 : (of(v, b)?.samplesPerSecond ?? 0)))),
    ]),
  );
  return section(
    'throughput',
    'Throughput',
    'Samples per second by batch size; the best that was not refused is marked.',
    table('Samples per second by batch size', timed, [
      { title: 'Variant', kind: 'text', cell: nameOf, sort: (v) => v.name },
      ...batches.map(
        (batch): Column<Timed> => ({
          title: `Batch ${batch}`,
          cell: (v) => {
            const row = of(v, batch);
            if (!row) return NONE;
            return html`<span class="${row.samplesPerSecond === best.get(batch) ? 'value good' : 'value'}" title="p50 ${formatMs(row.p50)}">${formatNumber(row.samplesPerSecond)}</span>`;
          },
          sort: (v) => of(v, batch)?.samplesPerSecond ?? null,
        }),
      ),
    ]),
  );
}

function start(timed: readonly Timed[]): Content {
  const fresh = timed.some((v) => v.performance.freshProcess !== null);
  const cold = (v: Timed) => v.performance.freshProcess ?? v.performance.coldStart;
  return section(
    'start',
    'Start and memory',
    fresh
      ? 'Each variant in a process of its own: loading the model, its first run, and the largest resident memory less what the process had before.'
      : 'Loading the model and its first run.',
    table('Start and memory', timed, [
      { title: 'Variant', kind: 'text', cell: nameOf, sort: (v) => v.name },
      { title: 'Load', cell: (v) => formatMs(cold(v).loadMs), sort: (v) => cold(v).loadMs },
      { title: 'First run', cell: (v) => formatMs(cold(v).firstRunMs), sort: (v) => cold(v).firstRunMs },
      ...(fresh
        ? [
            {
              title: 'Memory',
              cell: (v: Timed) => memory(v),
              sort: (v: Timed) => added(v),
              hint: 'Peak resident memory less the baseline of the process',
            },
            {
              title: 'Peak',
              cell: (v: Timed) =>
                v.performance.freshProcess ? formatBytes(v.performance.freshProcess.peakBytes) : NONE,
              sort: (v: Timed) => v.performance.freshProcess?.peakBytes ?? null,
            },
          ]
        : []),
    ]),
  );
}

function added({ performance: { freshProcess: f } }: Timed): number | null {
  return f ? Math.max(0, f.peakBytes - f.baselineBytes) : null;
}

function memory(v: Timed): string {
  const bytes = added(v);
  return bytes === null ? NONE : `+${formatBytes(bytes)}`;
}

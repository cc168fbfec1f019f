import type { AccuracyEvidence, ClassRow, ConfusionMatrix, Evidence, VariantEvidence } from '../../evidence.js';
import { dumbbell } from '../charts/bars.js';
import { matrix } from '../charts/matrix.js';
import { capitalize, formatCount, formatDifference, formatInterval, formatValue, NONE, plural } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { type Column, details, nameOf, section, stacked, table } from '../parts.js';
import { focusOf, originalOf } from '../view.js';

const CLASSES_SHOWN = 12;
const MATRIX_CLASSES = 32;
const PAIRS_SHOWN = 10;

/** What changed in the answers: other metrics, classes, and what is taken for what. */
export function accuracy(evidence: Evidence): Content {
  const before = originalOf(evidence)?.accuracy;
  return [secondary(evidence), before && classes(evidence, before), before && confusion(evidence, before)];
}

function secondary({ variants }: Evidence): Content {
  const scored = variants.filter((v) => (v.accuracy?.secondary.length ?? 0) > 0);
  const names = [...new Set(scored.flatMap((v) => v.accuracy?.secondary.map((m) => m.metric) ?? []))];
  if (names.length === 0) return null;
  const columns: Column<VariantEvidence>[] = [
    { title: 'Variant', kind: 'text', cell: nameOf, sort: (v) => v.name },
    ...names.map((name): Column<VariantEvidence> => {
      const of = (v: VariantEvidence) => v.accuracy?.secondary.find((m) => m.metric === name);
      return {
        title: capitalize(name),
        cell: (v) => {
          const m = of(v);
          return m ? stacked(formatValue(m.value, m.format), formatInterval(m.interval, m.format)) : NONE;
        },
        sort: (v) => of(v)?.value ?? null,
      };
    }),
  ];
  const samples = scored[0]?.accuracy?.samples ?? 0;
  return section(
    'metrics',
    'Other metrics',
    `Of the same runs, on ${plural(samples, 'sample')}.`,
    table('Other metrics of each variant', scored, columns),
  );
}

interface ClassChange {
  readonly row: ClassRow;
  readonly from: number | null;
  readonly to: number | null;
  readonly change: number;
}

function classes(evidence: Evidence, before: AccuracyEvidence): Content {
  const focus = focusOf(evidence, (v) => (v.accuracy?.classes?.length ?? 0) > 0);
  const after = focus?.accuracy?.classes;
  if (!focus || !after || !before.classes) return null;
  const byLabel = new Map(before.classes.map((c) => [c.label, c]));
  const rows = after
    .map((row): ClassChange => {
      const from = byLabel.get(row.label)?.recall ?? null;
      return { row, from, to: row.recall, change: from === null || row.recall === null ? 0 : row.recall - from };
    })
    .sort((a, b) => a.change - b.change);
  const lowest = Math.min(1, ...rows.flatMap((r) => [r.from ?? 1, r.to ?? 1]));
  const floor = Math.max(0, Math.min(0.9, Math.floor(lowest * 10 - 1e-9) / 10));
  const columns: Column<ClassChange>[] = [
    { title: 'Class', kind: 'text', cell: (r) => html`<bdi>${r.row.label}</bdi>`, sort: (r) => r.row.label },
    { title: 'Samples', cell: (r) => formatCount(r.row.support), sort: (r) => r.row.support },
    { title: 'Original', cell: (r) => formatValue(r.from, 'percent'), sort: (r) => r.from },
    { title: focus.name, cell: (r) => formatValue(r.to, 'percent'), sort: (r) => r.to },
    {
      title: html`<span class="ends"><span>${Math.round(floor * 100)}%</span><span>100%</span></span>`,
      kind: 'chart',
      cell: (r) => dumbbell(r.from, r.to, floor),
    },
    {
      title: 'Change',
      cell: (r) =>
        html`<span class="value ${r.change < 0 ? 'bad' : r.change > 0 ? 'good' : 'even'}">${r.change > 0 ? '+' : ''}${formatDifference(r.change, 'percent')}</span>`,
      sort: (r) => r.change,
    },
    { title: 'Precision', cell: (r) => formatValue(r.row.precision, 'percent'), sort: (r) => r.row.precision },
    { title: 'F1', cell: (r) => formatValue(r.row.f1, 'percent'), sort: (r) => r.row.f1 },
  ];
  const shown = rows.slice(0, CLASSES_SHOWN);
  const rest = rows.slice(CLASSES_SHOWN);
  const label = `Recall of each class, original and ${focus.name}`;
  return section(
    'classes',
    'Classes',
    html`Recall of each class, the largest loss first: the original (hollow) and <bdi>${focus.name}</bdi> (filled). A class with few samples moves by chance.`,
    [
      table(label, shown, columns, { className: 'classes' }),
      rest.length > 0 &&
        details(
          plural(rest.length, 'more class').replace('classs', 'classes'),
          table(label, rest, columns, { className: 'classes' }),
        ),
    ],
  );
}

interface PairChange {
  readonly truth: string;
  readonly answer: string;
  readonly right: boolean;
  readonly from: number;
  readonly to: number;
}

function confusion(evidence: Evidence, { confusion: before }: AccuracyEvidence): Content {
  const focus = focusOf(evidence, (v) => v.accuracy?.confusion != null);
  const after = focus?.accuracy?.confusion;
  if (!focus || !before || !after || !sameLabels(before, after)) return null;
  const change = after.counts.map((row, i) => row.map((n, j) => n - (before.counts[i]?.[j] ?? 0)));
  const pairs = change
    .flatMap((row, i) =>
      row.map((d, j): PairChange & { size: number } => ({
        truth: after.labels[i] as string,
        answer: after.labels[j] as string,
        right: i === j,
        from: before.counts[i]?.[j] ?? 0,
        to: after.counts[i]?.[j] ?? 0,
        size: i === j ? 0 : Math.abs(d),
      })),
    )
    .filter((p) => p.size > 0)
    .sort((a, b) => b.size - a.size)
    .slice(0, PAIRS_SHOWN);
  const small = after.labels.length <= MATRIX_CLASSES;
  const figure = (title: string, cells: ConfusionMatrix['counts'], kind: 'counts' | 'change'): Html =>
    html`<figure><figcaption>${title}</figcaption>${matrix({ labels: after.labels, cells, kind, label: `Confusion matrix: ${title}` })}</figure>`;
  return section(
    'confusion',
    'Confusion',
    html`Rows are the truth, columns the answer. In the change, green is more right or fewer wrong answers, red the opposite.`,
    [
      small &&
        html`<div class="matrices">${figure('original', before.counts, 'counts')}${figure(focus.name, after.counts, 'counts')}${figure('change', change, 'change')}</div>`,
      pairs.length === 0
        ? html`<p>Every kind of mistake is made exactly as often as before.</p>`
        : table(`Mistakes that changed most, original and ${focus.name}`, pairs, [
            {
              title: 'Mistakes that changed most',
              kind: 'text',
              cell: (p) =>
                html`<bdi>${p.truth}</bdi> <span class="below inline">taken for</span> <bdi>${p.answer}</bdi>`,
            },
            { title: 'Original', cell: (p) => formatCount(p.from), sort: (p) => p.from },
            { title: focus.name, cell: (p) => formatCount(p.to), sort: (p) => p.to },
            {
              title: 'Change',
              cell: (p) =>
                html`<span class="value ${p.to > p.from ? 'bad' : 'good'}">${p.to > p.from ? '+' : ''}${formatCount(p.to - p.from)}</span>`,
              sort: (p) => p.to - p.from,
            },
          ]),
    ],
  );
}

function sameLabels(a: ConfusionMatrix, b: ConfusionMatrix): boolean {
  return a.labels.length === b.labels.length && a.labels.every((l, i) => l === b.labels[i]);
}

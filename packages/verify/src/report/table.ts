import type { Evidence, VariantEvidence } from '../evidence.js';
import {
  capitalize,
  formatBytes,
  formatCosine,
  formatInterval,
  formatMs,
  formatRatio,
  formatValue,
  NONE,
  shorten,
} from './format.js';
import { padEnd, padStart, visible, widthOf, wrap } from './terminal-text.js';
import { accuracyMeasured, cosineOf, dropText, type Kind, kindOf, metricOf } from './view.js';

export type TableStyle = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

export interface TableOptions {
  /** Width of the terminal. Default 100; below 60 the lines are as if it were 60. */
  readonly columns?: number;
  /** Colours a piece of text. Default: leaves it as it is. */
  readonly style?: (style: TableStyle, text: string) => string;
}

/** One cell: what it says, what qualifies that, and how it is coloured. */
interface Cell {
  readonly text: string;
  readonly below: string;
  readonly style?: TableStyle | undefined;
}

interface Column {
  readonly title: string;
  readonly cell: (variant: VariantEvidence) => Cell;
  readonly left?: boolean;
}

const MARKS: Readonly<Record<Kind, readonly [mark: string, style: TableStyle]>> = {
  original: [' ', 'dim'],
  recommended: ['★', 'green'],
  accepted: ['✓', 'green'],
  refused: ['✕', 'red'],
};

/**
 * The table at the end of a run, as lines of text: every measured variant with its numbers and intervals, the recommendation,
 * and why the others were refused. On a wide terminal an interval stands behind its number, else below it; where even that
 * does not fit, the cosine is left out and long names are shortened.
 */
export function renderTable(evidence: Evidence, options: TableOptions = {}): string {
  const columns = Math.max(60, options.columns ?? 100);
  const style = options.style ?? ((_, text) => text);
  return [
    ...warnings(evidence, columns, style),
    ...grid(evidence, columns, style),
    '',
    ...verdicts(evidence, columns, style),
  ].join('\n');
}

type Style = NonNullable<TableOptions['style']>;

const GAP = '  ';
/** Where columns are narrow, long titles (names of metrics) are cut to this. */
const MAX_TITLE = 12;

function grid(evidence: Evidence, width: number, style: Style): string[] {
  const layouts: readonly Layout[] = [
    {},
    { below: true },
    { below: true, cut: true },
    { below: true, bothLatencies: true },
    { below: true, bothLatencies: true, cut: true },
    { below: true, bothLatencies: true, cut: true, verdict: false },
    { below: true, bothLatencies: true, cut: true, verdict: false, cosine: false },
  ];
  const rows = layouts.map((layout) => measure(evidence, layout));
  const chosen = rows.find((r) => r.total <= width) ?? (rows.at(-1) as Measured);
  const nameWidth = Math.max(8, (chosen.widths[0] as number) - Math.max(0, chosen.total - width));
  const widths = [nameWidth, ...chosen.widths.slice(1)];
  const put = (text: string, i: number): string => {
    const w = widths[i] as number;
    return chosen.columns[i]?.left ? padEnd(fit(text, w), w) : padStart(fit(text, w), w);
  };
  const line = (cells: readonly string[]): string => cells.join(GAP).trimEnd();
  const lines = [style('dim', `  ${line(chosen.columns.map((c, i) => put(c.title, i)))}`)];
  for (const [r, row] of chosen.rows.entries()) {
    const kind = kindOf(evidence.variants[r] as VariantEvidence);
    const [mark, markStyle] = MARKS[kind];
    const paint = (cell: Cell, i: number): string => {
      const text = put(cell.text, i);
      const look = cell.style ?? (kind === 'recommended' ? 'bold' : undefined);
      return look ? style(look, text) : text;
    };
    lines.push(`${style(markStyle, mark)} ${line(row.map(paint))}`);
    if (row.some((c) => c.below !== '')) lines.push(style('dim', `  ${line(row.map((c, i) => put(c.below, i)))}`));
  }
  return lines;
}

/** Ways to take less room; the first in `grid` that fits is taken. */
interface Layout {
  /** Intervals below their numbers. */
  readonly below?: boolean;
  /** p95 below p50. */
  readonly bothLatencies?: boolean;
  /** Long titles cut. */
  readonly cut?: boolean;
  /** Default true; without it the mark before the name tells the verdict. */
  readonly verdict?: boolean;
  /** Default true. */
  readonly cosine?: boolean;
}

interface Measured {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
  readonly widths: readonly number[];
  readonly total: number;
}

function measure(evidence: Evidence, layout: Layout): Measured {
  const { variants } = evidence;
  const columns = columnsOf(evidence, layout);
  const rows = variants.map((v) =>
    columns.map(({ cell }) => {
      const c = cell(v);
      if (layout.below || c.below === '') return c;
      return { ...c, text: `${c.text} (${c.below})`, below: '' };
    }),
  );
  const widths = columns.map((c, i) =>
    Math.max(
      Math.min(widthOf(c.title), layout.cut ? MAX_TITLE : 99),
      ...rows.map((row) => Math.max(widthOf(row[i]?.text ?? ''), widthOf(row[i]?.below ?? ''))),
    ),
  );
  const total = 2 + widths.reduce((a, b) => a + b, 0) + GAP.length * (widths.length - 1);
  return { columns, rows, widths, total };
}

function columnsOf(evidence: Evidence, { bothLatencies, verdict = true, cosine = true }: Layout): Column[] {
  const { variants } = evidence;
  const metric = metricOf(evidence);
  const plain = (text: string, style?: TableStyle): Cell => ({ text, below: '', style });
  const columns: Column[] = [
    { title: 'Variant', left: true, cell: (v) => plain(visible(v.name)) },
    { title: 'Size', cell: (v) => plain(formatBytes(v.bytes)) },
  ];
  if (variants.some((v) => v.performance)) {
    const ms = (v: VariantEvidence, key: 'p50' | 'p95'): string =>
      v.performance ? formatMs(v.performance.latency[key]) : NONE;
    if (bothLatencies) columns.push({ title: 'p50, p95', cell: (v) => ({ text: ms(v, 'p50'), below: ms(v, 'p95') }) });
    else
      columns.push(
        { title: 'p50', cell: (v) => plain(ms(v, 'p50')) },
        { title: 'p95', cell: (v) => plain(ms(v, 'p95')) },
      );
    columns.push({ title: 'Speed-up', cell: speedup });
  }
  if (metric)
    columns.push({ title: capitalize(visible(metric.metric)), cell: accuracy }, { title: 'Drop', cell: drop });
  if (cosine && variants.some((v) => cosineOf(v) !== null))
    columns.push({ title: 'Cosine', cell: (v) => plain(formatCosine(cosineOf(v))) });
  if (verdict)
    columns.push({
      title: 'Verdict',
      left: true,
      cell: (v) => plain(kindOf(v), MARKS[kindOf(v)][1]),
    });
  return columns;
}

function speedup({ performance, isOriginal }: VariantEvidence): Cell {
  const s = performance?.speedup;
  if (!s) return { text: isOriginal ? '' : NONE, below: '' };
  const style = s.verdict === 'faster' ? 'green' : s.verdict === 'slower' ? 'red' : 'dim';
  return { text: formatRatio(s.ratio), below: formatInterval(s.interval, 'ratio'), style };
}

function accuracy({ accuracy: a }: VariantEvidence): Cell {
  if (!a) return { text: NONE, below: '' };
  return { text: formatValue(a.value, a.format), below: formatInterval(a.interval, a.format) };
}

function drop({ accuracy: a }: VariantEvidence): Cell {
  const d = a && dropText(a);
  if (!a?.drop || !d) return { text: '', below: '' };
  const style = a.drop.verdict === 'worse' ? 'red' : a.drop.verdict === 'better' ? 'green' : 'dim';
  return { text: d.value, below: d.interval, style };
}

function fit(text: string, width: number): string {
  let n = [...text].length;
  let fitted = text;
  while (widthOf(fitted) > width && n > 1) fitted = shorten(text, --n);
  return fitted;
}

function warnings(evidence: Evidence, width: number, style: Style): string[] {
  const measured = accuracyMeasured(evidence);
  const loud = measured
    ? []
    : [
        evidence.data.kind === 'random'
          ? 'ACCURACY WAS NOT MEASURED: no data was given, inputs were random. Give --data before you ship.'
          : 'ACCURACY WAS NOT MEASURED: no metric fits the data. Give --metric or labels before you ship.',
      ];
  const rest = [...new Set([...evidence.warnings, ...evidence.data.warnings])].filter(
    (w) => measured || !/^accuracy was not measured/i.test(w),
  );
  const lines = [
    ...loud.flatMap((w) => wrap(w, width).map((l) => style('red', l))),
    ...rest.flatMap((w) => wrap(visible(`Note: ${w}`), width).map((l) => style('yellow', l))),
  ];
  return lines.length > 0 ? [...lines, ''] : [];
}

function verdicts(
  { variants, refused, training = [], recommendation }: Evidence,
  width: number,
  style: Style,
): string[] {
  const best = variants.find((v) => v.name === recommendation.variant);
  const title =
    best === undefined || best.isOriginal ? 'Keep the original.' : `Ship ${visible(recommendation.variant)}.`;
  const reasons = [recommendation.reason, ...(best?.verdict.reasons.slice(1) ?? [])].map(visible);
  const lines = hanging('★ ', [title, ...reasons].join(' '), width).map((line) => style('green', line));
  const list = (mark: string, name: string, reasons: readonly string[]): void => {
    const text = hanging(`${mark} `, `${visible(name)}: ${visible(reasons.join(' '))}`, width);
    lines.push(...text.map((line, i) => (i === 0 ? `${style('red', mark)}${line.slice(mark.length)}` : line)));
  };
  for (const v of variants) if (v.verdict.status === 'refused') list('✕', v.name, v.verdict.reasons);
  for (const r of refused) list('–', r.name, [r.reason]);
  for (const t of training) list('•', t.name, t.notes);
  return lines;
}

function hanging(mark: string, text: string, width: number): string[] {
  return wrap(text, width - mark.length).map((line, i) => (i === 0 ? mark : ' '.repeat(mark.length)) + line);
}

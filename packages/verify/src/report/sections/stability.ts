import type { BitComparison, Evidence, ExtremeInput, VariantEvidence } from '../../evidence.js';
import { capitalize, formatCount, formatNumber, NONE } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { type Column, nameOf, section, table } from '../parts.js';

const WORDS: Readonly<Record<ExtremeInput['verdict'], readonly [tone: string, text: string]>> = {
  finite: ['good', 'finite'],
  'not finite': ['bad', 'not finite'],
  'not finite, like the original': ['even', 'as original'],
  failed: ['bad', 'failed'],
  'failed, like the original': ['even', 'fails as original'],
};

/** Hostile inputs, and whether the same input gives the same bits. */
export function stability({ variants }: Evidence): Content {
  const rows = variants.filter((v) => v.stability !== null);
  if (rows.length === 0) return null;
  const extremes = new Map(rows.flatMap((v) => v.stability?.extremes.map((e) => [e.name, e.input] as const) ?? []));
  const columns: Column<VariantEvidence>[] = [
    { title: 'Variant', kind: 'text', cell: nameOf, sort: (v) => v.name },
    ...[...extremes].map(
      ([name, input]): Column<VariantEvidence> => ({
        title: capitalize(name),
        kind: 'text',
        hint: input,
        cell: (v) => extreme(v.stability?.extremes.find((e) => e.name === name)),
      }),
    ),
    ...(rows.some((v) => v.stability?.reproducibility)
      ? ([
          { title: 'Same input again', kind: 'text', cell: (v) => same(v.stability?.reproducibility?.repeated) },
          { title: 'Other threads', kind: 'text', cell: (v) => threads(v) },
        ] satisfies Column<VariantEvidence>[])
      : []),
  ];
  return section(
    'stability',
    'Extreme inputs',
    'What each model does with inputs at the edge, and whether the same input gives the same bits.',
    table('Extreme inputs and reproducibility', rows, columns, { className: 'stability' }),
  );
}

function extreme(e: ExtremeInput | undefined): Html | string {
  if (!e) return NONE;
  const [tone, text] = WORDS[e.verdict];
  const counts = e.nan || e.infinite ? `${formatCount(e.nan ?? 0)} NaN, ${formatCount(e.infinite ?? 0)} infinite` : '';
  return html`<span class="${tone}" title="${[e.input, counts, e.error ?? ''].filter(Boolean).join('; ')}">${text}</span>`;
}

function same(c: BitComparison | undefined): Html | string {
  if (!c) return NONE;
  if (c.identical) return html`<span class="good">same bits</span>`;
  return html`<span class="even">${c.maxAbs === null ? 'differs' : `within ${formatNumber(c.maxAbs)}`}</span>`;
}

function threads({ stability: s }: VariantEvidence): Html | string {
  const all = s?.reproducibility?.threads ?? [];
  if (all.length === 0) return NONE;
  const worst = all.reduce((a, b) => (rank(b) > rank(a) ? b : a));
  return html`<span title="${all.map((t) => `${t.threads} threads: ${t.identical ? 'same bits' : t.maxAbs === null ? 'differs' : `within ${formatNumber(t.maxAbs)}`}`).join('; ')}">${same(worst)}</span>`;
}

function rank(c: BitComparison): number {
  return c.identical ? -1 : (c.maxAbs ?? Number.POSITIVE_INFINITY);
}

import type { Evidence, LayerNumerics, OutputNumerics, VariantEvidence } from '../../evidence.js';
import { plot, share } from '../charts/axes.js';
import { bar } from '../charts/bars.js';
import {
  formatCosine,
  formatCount,
  formatDb,
  formatNumber,
  formatShare,
  formatValue,
  NONE,
  plural,
  shorten,
} from '../format.js';
import { type Content, html } from '../html.js';
import { type Column, details, nameOf, section, table } from '../parts.js';
import { linearScale } from '../scale.js';
import { focusOf } from '../view.js';

const LAYERS_SHOWN = 12;
/** Rows that unfold below them; all are in evidence.json. */
const LAYERS_FOLDED = 200;
/** Above this many layers the profile is a line with its worst points. */
const DOTS = 120;
/** Errors this far below the signal are the rounding of 32-bit floats, not quantization. */
const ROUNDING_DB = 80;

/** How far the numbers are from the original's: at the outputs, and layer by layer. */
export function numerics(evidence: Evidence): Content {
  return [outputs(evidence), layers(evidence)];
}

interface OutputRow {
  readonly variant: VariantEvidence;
  readonly output: OutputNumerics;
}

function outputs({ variants }: Evidence): Content {
  const rows = variants.flatMap((variant) =>
    (variant.numerics?.outputs ?? []).map((output): OutputRow => ({ variant, output })),
  );
  if (rows.length === 0) return null;
  const several = new Set(rows.map((r) => r.output.name)).size > 1;
  const columns: Column<OutputRow>[] = [
    { title: 'Variant', kind: 'text', cell: (r) => nameOf(r.variant), sort: (r) => r.variant.name },
    ...(several
      ? [{ title: 'Output', kind: 'text', cell: (r: OutputRow) => html`<bdi>${r.output.name}</bdi>` } as const]
      : []),
    {
      title: 'Cosine',
      cell: ({ output: o }) => (o.identical ? 'identical' : formatCosine(o.cosine)),
      sort: (r) => r.output.cosine,
    },
    {
      title: 'Worst sample',
      cell: ({ output: o }) =>
        o.worstCosine
          ? html`<span title="sample ${o.worstCosine.sample}">${formatCosine(o.worstCosine.value)}</span>`
          : NONE,
      sort: (r) => r.output.worstCosine?.value ?? null,
      hint: 'The smallest cosine of one sample',
    },
    {
      title: 'SQNR',
      cell: ({ output: o }) => sqnr(o),
      sort: (r) => r.output.sqnrDb,
      hint: 'Signal to quantization noise ratio; higher is better',
    },
    {
      title: 'Rel. RMSE',
      cell: ({ output: o }) => formatShare(o.relativeRmse),
      sort: (r) => r.output.relativeRmse,
    },
    {
      title: 'Max |error|',
      cell: ({ output: o }) => (o.maxAbs === null ? NONE : formatNumber(o.maxAbs)),
      sort: (r) => r.output.maxAbs,
    },
    ...(rows.some((r) => r.output.kl)
      ? [
          {
            title: 'KL mean',
            cell: ({ output: o }: OutputRow) =>
              o.kl ? html`<span title="largest ${formatNumber(o.kl.max)}">${formatNumber(o.kl.mean)}</span>` : NONE,
            sort: (r: OutputRow) => r.output.kl?.mean ?? null,
            hint: 'KL divergence of the softmax from the original’s, nats',
          },
        ]
      : []),
    ...(rows.some((r) => r.output.top1Agreement !== null)
      ? [
          {
            title: 'Same top-1',
            cell: ({ output: o }: OutputRow) => formatValue(o.top1Agreement, 'percent'),
            sort: (r: OutputRow) => r.output.top1Agreement,
            hint: 'Share of rows whose largest element is at the same place',
          },
        ]
      : []),
    ...(rows.some((r) => r.output.nonFiniteVariant > 0)
      ? [
          {
            title: 'NaN, ∞',
            cell: ({ output: o }: OutputRow) =>
              html`<span class="${o.nonFiniteVariant > o.nonFiniteOriginal ? 'bad' : ''}">${formatCount(o.nonFiniteVariant)}</span>`,
          },
        ]
      : []),
  ];
  const saturation = variants.filter(
    (v) => v.numerics?.saturation && v.numerics.saturation.verdict !== 'not applicable',
  );
  return section(
    'numerics',
    'Outputs',
    `Against the original’s outputs for the same ${plural(rows[0]?.variant.numerics?.samples ?? 0, 'input')}.`,
    [
      table('Errors of the outputs', rows, columns),
      saturation.length > 0 &&
        html`<h3>Saturation of the integer kernels</h3><ul class="plain">${saturation.map((v) => {
          const s = v.numerics?.saturation;
          return (
            s &&
            html`<li>${nameOf(v)} <span class="${s.verdict === 'saturates' ? 'bad' : 'good'}">${s.verdict === 'saturates' ? 'saturates' : 'does not saturate'}</span> <span class="below inline">${s.lossDb === null ? '' : `${formatDb(Math.max(0, s.lossDb))} lost. `}${s.reason}</span></li>`
          );
        })}</ul>`,
    ],
  );
}

function layers(evidence: Evidence): Content {
  const has = (v: VariantEvidence): boolean => (v.numerics?.layers?.ranked.length ?? 0) > 0;
  const focus = focusOf(evidence, has);
  if (!focus) return null;
  const others = evidence.variants.filter((v) => has(v) && v !== focus);
  return section(
    'layers',
    'Layers',
    'The error after each layer, in the order of the graph: where the line falls, accuracy is lost. Ranked below, the worst first.',
    [
      html`<h3>${nameOf(focus)}</h3>`,
      layersOf(focus, LAYERS_FOLDED),
      others.map((v) => details(nameOf(v), layersOf(v, 0))),
    ],
  );
}

function layersOf({ name, numerics: n }: VariantEvidence, folded: number): Content {
  if (!n?.layers) return null;
  const { ranked, unmatched, note, samples } = n.layers;
  const largest = Math.max(1e-12, ...ranked.slice(0, LAYERS_SHOWN).map((l) => l.relativeRmse ?? 0));
  const columns: Column<LayerNumerics>[] = [
    {
      title: 'Layer',
      kind: 'text',
      cell: (l) => html`<span title="${l.tensor}"><bdi>${shorten(l.node || l.tensor, 44)}</bdi></span>`,
      sort: (l) => l.index,
    },
    { title: 'Operator', kind: 'text', cell: (l) => l.opType, sort: (l) => l.opType },
    {
      title: html`<span class="hidden">Relative error as a bar</span>`,
      kind: 'chart',
      cell: (l) => bar((l.relativeRmse ?? 0) / largest, 'error'),
    },
    { title: 'Rel. RMSE', cell: (l) => formatShare(l.relativeRmse), sort: (l) => l.relativeRmse },
    { title: 'SQNR', cell: sqnr, sort: (l) => l.sqnrDb },
    { title: 'Cosine', cell: (l) => formatCosine(l.cosine), sort: (l) => l.cosine },
    { title: 'Max |error|', cell: (l) => (l.maxAbs === null ? NONE : formatNumber(l.maxAbs)), sort: (l) => l.maxAbs },
  ];
  const rest = ranked.slice(LAYERS_SHOWN, LAYERS_SHOWN + folded);
  return [
    profile(name, ranked),
    table(`Layers of ${name} by error`, ranked.slice(0, LAYERS_SHOWN), columns, { className: 'layers' }),
    rest.length > 0 &&
      details(
        plural(rest.length, 'more layer'),
        table(`More layers of ${name}`, rest, columns, { className: 'layers' }),
      ),
    html`<p class="note">${plural(samples, 'sample')}.${unmatched > 0 && ` ${plural(unmatched, 'tensor')} of the original ${unmatched === 1 ? 'has' : 'have'} no twin in this variant (fused or renamed).`}${note && ` ${note}`}</p>`,
  ];
}

/** SQNR of every layer in the order of the graph. */
function profile(name: string, ranked: readonly LayerNumerics[]): Content {
  const drawn = ranked.filter((l) => l.sqnrDb !== null).sort((a, b) => a.index - b.index);
  if (drawn.length < 3) return null;
  const all = drawn.map((l) => l.sqnrDb ?? 0);
  // What is exact but for the rounding of floats would flatten everything that matters.
  const top = Math.min(...all) < ROUNDING_DB - 20 ? ROUNDING_DB : Number.POSITIVE_INFINITY;
  const db = (l: LayerNumerics): number => Math.min(top, l.sqnrDb ?? 0);
  const y = linearScale(drawn.map(db), { count: 4 });
  const x = (i: number): string => share((i + 0.5) / drawn.length);
  const at = (l: LayerNumerics): string => share(1 - y(db(l)));
  const worst = new Set(ranked.filter((l) => l.sqnrDb !== null).slice(0, 3));
  const line = drawn.map(
    (l, i) => `${(((i + 0.5) / drawn.length) * 1000).toFixed(1)},${((1 - y(db(l))) * 1000).toFixed(0)}`,
  );
  const dots = drawn.map((l, i) => {
    if (drawn.length > DOTS && !worst.has(l)) return null;
    const text = `${l.node || l.tensor} (${l.opType})\nSQNR ${sqnr(l)}, relative RMSE ${formatShare(l.relativeRmse)}`;
    const side = (i + 0.5) / drawn.length;
    const anchor = side < 0.15 ? 'start' : side > 0.85 ? 'end' : 'middle';
    return html`<svg class="layer${worst.has(l) && ' worst'}" x="${x(i)}" y="${at(l)}"><title>${text}</title><circle r="${worst.has(l) ? 5 : 3.2}"/>${worst.has(l) && ranked.indexOf(l) === 0 && html`<text dy="20" text-anchor="${anchor}">${shorten(l.node || l.tensor, 28)}</text>`}</svg>`;
  });
  return html`<figure>${plot(
    {
      height: 190,
      label: `Signal to quantization noise of each layer of ${name}, in the order of the graph`,
      x: {
        scale: Object.assign((v: number) => v, { domain: [0, 1] as const, ticks: [] }),
        title: `${plural(drawn.length, 'layer')}, input to output`,
        format: String,
      },
      y: {
        scale: y,
        title: 'SQNR, higher is better',
        format: (v) => `${v >= top && Math.max(...all) > top ? '≥' : ''}${formatCount(v)} dB`,
      },
    },
    [
      html`<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%"><polyline class="profile" points="${line.join(' ')}"/></svg>`,
      dots,
    ],
  )}</figure>`;
}

function sqnr({ sqnrDb, identical }: { sqnrDb: number | null; identical: boolean }): string {
  return sqnrDb === null ? (identical ? 'exact' : NONE) : formatDb(sqnrDb);
}

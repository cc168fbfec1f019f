import type { VariantEvidence } from '../evidence.js';
import { shapeOf } from './charts/scatter.js';
import { type Content, type Html, html } from './html.js';
import { type Kind, kindOf } from './view.js';

/** A part of the page: its title and a sentence on how to read it at the left, the rest at the right (below, on a phone). */
export function section(
  id: string,
  title: string,
  lead: Content,
  body: Content,
  layout: 'aside' | 'full' = 'aside',
): Html {
  return html`
<section id="${id}" class="${layout}" aria-labelledby="${id}-title">
<div class="aside"><h2 id="${id}-title">${title}</h2><p class="lead">${lead}</p></div>
<div class="body">${body}</div>
</section>`;
}

const WORDS: Readonly<Record<Kind, string>> = {
  original: 'original',
  recommended: 'recommended',
  accepted: 'accepted',
  refused: 'refused',
};

export function chip(kind: Kind | 'not measured'): Html {
  return html`<span class="chip ${kind === 'not measured' ? 'refused' : kind}">${kind === 'not measured' ? kind : WORDS[kind]}</span>`;
}

/** The mark that a variant has in every chart, and its name. */
export function nameOf(variant: VariantEvidence): Html {
  return html`${glyph(kindOf(variant))}<bdi>${variant.name}</bdi>`;
}

export function glyph(kind: Kind): Html {
  return html`<svg class="glyph mark ${kind}" viewBox="-8 -8 16 16" width="14" height="14" aria-hidden="true">${shapeOf(kind)}</svg>`;
}

export interface Column<Row> {
  readonly title: Content;
  readonly cell: (row: Row) => Content;
  /** What the column is sorted by; without it the column cannot be sorted. */
  readonly sort?: (row: Row) => number | string | null;
  readonly kind?: 'number' | 'text' | 'chart';
  /** Explains the column in a tooltip. */
  readonly hint?: string;
}

/**
 * A table whose first column names the rows. Scrolls sideways by itself where it does not fit; with a script it can be sorted.
 */
export function table<Row>(
  label: string,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: { rowClass?: (row: Row) => string; className?: string } = {},
): Html {
  const kind = (c: Column<Row>): string => c.kind ?? 'number';
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0"><table class="${options.className ?? ''}">
<caption class="hidden">${label}</caption>
<thead><tr>${columns.map((c) => html`<th scope="col" class="${kind(c)}"${c.sort && html` data-sort=""`}${c.hint && html` title="${c.hint}"`}>${c.title}</th>`)}</tr></thead>
<tbody>${rows.map(
    (row) => html`
<tr class="${options.rowClass?.(row) ?? ''}">${columns.map((c, i) => {
      const key = c.sort?.(row);
      const sort = key === undefined || key === null ? '' : html` data-value="${key}"`;
      return i === 0
        ? html`<th scope="row" class="${kind(c)}"${sort}>${c.cell(row)}</th>`
        : html`<td class="${kind(c)}"${sort}>${c.cell(row)}</td>`;
    })}</tr>`,
  )}
</tbody></table></div>`;
}

/** A number with what qualifies it below: its interval, where it comes from. */
export function stacked(value: Content, below: Content, tone = ''): Html {
  return html`<span class="value ${tone}">${value}</span><span class="below">${below}</span>`;
}

export function details(summary: Content, body: Content, open = false): Html {
  return html`<details${open && html` open`}><summary>${summary}</summary>${body}</details>`;
}

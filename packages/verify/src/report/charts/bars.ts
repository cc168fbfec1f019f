import { type Html, html } from '../html.js';
import { share } from './axes.js';

/** A bar in a table cell: `value` 0..1 of the cell's width. Decorative: the number stands beside it. */
export function bar(value: number, kind = ''): Html {
  return html`<svg class="bar ${kind}" width="100%" height="6" aria-hidden="true"><rect class="track" width="100%" height="6" rx="3"/><rect width="${share(Math.min(1, Math.max(0, value)))}" height="6" rx="3"/></svg>`;
}

/** Two values on one line that begins at `floor` and ends at 1, from the original's (hollow) to the variant's (filled). Decorative. */
export function dumbbell(before: number | null, after: number | null, floor = 0): Html {
  if (before === null || after === null) return html``;
  const [from, to] = [(before - floor) / (1 - floor), (after - floor) / (1 - floor)];
  const kind = to < from ? 'worse' : to > from ? 'better' : 'same';
  return html`<svg class="dumbbell ${kind}" width="100%" height="14" aria-hidden="true"><line class="track" x1="0" x2="100%" y1="7" y2="7"/><line class="change" x1="${share(from)}" x2="${share(to)}" y1="7" y2="7"/><circle class="from" cx="${share(from)}" cy="7" r="4"/><circle class="to" cx="${share(to)}" cy="7" r="4"/></svg>`;
}

/** Medians of the rounds in order: a flat line is a quiet machine. Decorative. */
export function sparkline(values: readonly number[]): Html {
  if (values.length < 2) return html``;
  const low = Math.min(...values);
  const high = Math.max(...values);
  // At least 10 % of the value is the full height, so that noise of 1 % does not look like a mountain.
  const range = Math.max(high - low, 0.1 * high) || 1;
  const middle = (high + low) / 2;
  const points = values.map(
    (v, i) => `${((i / (values.length - 1)) * 100).toFixed(1)},${(10 - ((v - middle) / range) * 16).toFixed(1)}`,
  );
  return html`<svg class="sparkline" viewBox="0 0 100 20" preserveAspectRatio="none" width="100%" height="20" aria-hidden="true"><polyline points="${points.join(' ')}"/></svg>`;
}

import { formatCount, truncate } from '../format.js';
import { type Html, html } from '../html.js';

export interface MatrixOptions {
  readonly labels: readonly string[];
  /** `[row][column]`; 0 is not drawn. */
  readonly cells: readonly (readonly number[])[];
  /** `counts`: shares of the row's sum. `change`: red where wrong answers grew, green where right ones did. */
  readonly kind: 'counts' | 'change';
  readonly label: string;
}

const SIZE = 300;
/** Above this, cells are too small for numbers and names. */
const WITH_TEXT = 12;

/** A confusion matrix, or the difference of two: rows are the truth, columns the answer. */
export function matrix({ labels, cells, kind, label }: MatrixOptions): Html {
  const n = labels.length;
  const text = n <= WITH_TEXT;
  const margin = text ? 60 : 14;
  const cell = (SIZE - margin) / n;
  const largest = Math.max(1, ...cells.flatMap((row) => row.map(Math.abs)));
  const at = (i: number): string => (margin + i * cell).toFixed(2);
  const squares = cells.flatMap((row, truth) => {
    const sum = row.reduce((a, b) => a + b, 0) || 1;
    return row.flatMap((value, answer) => {
      if (value === 0) return [];
      const good = (truth === answer) === value > 0;
      const strength = kind === 'counts' ? value / sum : Math.abs(value) / largest;
      const opacity = (0.12 + 0.88 * Math.sqrt(strength)).toFixed(2);
      const signed = kind === 'change' && value > 0 ? `+${formatCount(value)}` : formatCount(value);
      const className = kind === 'counts' ? 'count' : good ? 'good' : 'bad';
      return [
        html`<rect class="${className}" x="${at(answer)}" y="${at(truth)}" width="${(cell - 1).toFixed(2)}" height="${(cell - 1).toFixed(2)}" rx="1.5" fill-opacity="${opacity}"><title>${`${labels[truth]} taken for ${labels[answer]}: ${signed}`}</title></rect>`,
        text &&
          html`<text class="cell${Number(opacity) > 0.62 ? ' on' : ''}" x="${(margin + (answer + 0.5) * cell - 0.5).toFixed(2)}" y="${(margin + (truth + 0.5) * cell).toFixed(2)}" dy="0.34em" text-anchor="middle">${signed}</text>`,
      ];
    });
  });
  const names = text
    ? labels.map(
        (name, i) =>
          html`<text class="tick" x="${margin - 6}" y="${(margin + (i + 0.5) * cell).toFixed(2)}" dy="0.34em" text-anchor="end">${truncate(name, 10)}</text><text class="tick" x="0" y="0" dy="0.34em" transform="translate(${(margin + (i + 0.5) * cell).toFixed(2)} ${margin - 6}) rotate(-55)">${truncate(name, 10)}</text>`,
      )
    : html`<text class="tick" x="${margin + (SIZE - margin) / 2}" y="9" text-anchor="middle">answer</text><text class="tick" x="9" y="${margin + (SIZE - margin) / 2}" text-anchor="middle" transform="rotate(-90 9 ${margin + (SIZE - margin) / 2})">truth</text>`;
  return html`<svg class="matrix" viewBox="0 0 ${SIZE} ${SIZE}" role="img" aria-label="${label}"><rect class="back" x="${margin}" y="${margin}" width="${SIZE - margin}" height="${SIZE - margin}" rx="2"/>${squares}${names}</svg>`;
}

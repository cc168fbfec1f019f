import { type Html, html } from '../html.js';
import type { Scale } from '../scale.js';
import { share } from './axes.js';

const STEPS = 160;

/**
 * Density of a sample along a scale, by a Gaussian kernel in the scale's own unit (so on a log scale, of the logarithm), with
 * Silverman's rule of thumb for the bandwidth (Density Estimation, 1986, eq. 3.31). Values at `STEPS + 1` even places, 0..1
 * scaled to a largest of 1.
 */
export function density(sample: readonly number[], scale: Scale): number[] {
  const at = sample.map(scale).sort((a, b) => a - b);
  const n = at.length;
  if (n === 0) return [];
  const mean = at.reduce((a, b) => a + b, 0) / n;
  const sd = Math.sqrt(at.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, n - 1));
  const iqr = (at[Math.floor(0.75 * (n - 1))] as number) - (at[Math.floor(0.25 * (n - 1))] as number);
  const spread = Math.min(sd, iqr / 1.34) || sd;
  const h = Math.max(0.9 * spread * n ** -0.2, 1 / STEPS);
  const curve = Array.from({ length: STEPS + 1 }, (_, i) =>
    at.reduce((sum, x) => sum + Math.exp(-0.5 * ((i / STEPS - x) / h) ** 2), 0),
  );
  const top = Math.max(...curve);
  return curve.map((v) => (top > 0 ? v / top : 0));
}

export interface DensityRow {
  readonly sample: readonly number[];
  readonly p50: number;
  readonly p95: number;
  readonly kind: 'original' | 'recommended' | 'accepted' | 'refused';
}

/**
 * One latency distribution as a filled curve over a rug of the single runs (which shows the tail that a curve hides), with its
 * median and its 95th percentile. It stretches to any width.
 */
export function densityCurve({ sample, p50, p95, kind }: DensityRow, scale: Scale, label: string): Html {
  const curve = density(sample, scale).map((v, i) => `${((i / STEPS) * 1000).toFixed(0)},${(78 - 74 * v).toFixed(1)}`);
  const ticks = [...new Set(sample.map((v) => (scale(v) * 1000).toFixed(0)))].filter((x) => Number(x) <= 1000);
  const mark = (value: number, name: string): Html | null => {
    const x = scale(value);
    return x < 0 || x > 1 ? null : html`<line class="${name}" x1="${share(x)}" x2="${share(x)}" y1="6%" y2="78%"/>`;
  };
  const grid = scale.ticks.map(
    (t) => html`<line class="grid" x1="${share(scale(t))}" x2="${share(scale(t))}" y1="0" y2="100%"/>`,
  );
  return html`<svg class="density ${kind}" width="100%" height="50" role="img" aria-label="${label}">${grid}<svg viewBox="0 0 1000 100" preserveAspectRatio="none" width="100%" height="100%"><path d="M0,78L${curve.join('L')}L1000,78Z"/><path class="rug" d="${ticks.map((x) => `M${x},84v12`).join('')}"/></svg>${mark(p50, 'p50')}${mark(p95, 'p95')}</svg>`;
}

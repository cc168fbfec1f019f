import type { Interval } from '../evidence.js';

/** What stands where there is no number. */
export const NONE = '–';

/** `10.8 MB`: decimal units, three figures. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : figures(value, 3)} ${units[unit]}`;
}

/** `14.2 ms`, `1.24 s`, `62 µs`. */
export function formatMs(ms: number): string {
  if (ms >= 999.5) return `${figures(ms / 1000, 3)} s`;
  if (ms >= 0.0995) return `${figures(ms, 3)} ms`;
  return `${figures(ms * 1000, 2)} µs`;
}

/** `1.62×`. */
export function formatRatio(ratio: number): string {
  return `${ratio >= 9.995 ? ratio.toFixed(1) : ratio.toFixed(2)}×`;
}

export type ValueFormat = 'percent' | 'number';

/** A metric: `97.8%`, or `0.0214`. */
export function formatValue(value: number | null, format: ValueFormat): string {
  if (value === null) return NONE;
  return format === 'percent' ? `${minus((value * 100).toFixed(1))}%` : formatNumber(value);
}

/** A difference of a metric: `0.4 pt` (percentage points), or `0.0031`. Small ones are not rounded away. */
export function formatDifference(value: number, format: ValueFormat): string {
  if (format === 'number') return formatNumber(value);
  const points = value * 100;
  const digits = points !== 0 && Math.abs(points) < 0.095 ? 2 : 1;
  return `${minus(points.toFixed(digits))} pt`;
}

/** `96.9–98.5%`: both ends of an interval, the unit once. */
export function formatInterval(interval: Interval | null, format: ValueFormat | 'ratio' | 'difference'): string {
  if (interval === null) return '';
  const { low, high } = interval;
  if (format === 'ratio') {
    const digits = high - low < 0.01 ? 3 : 2;
    return `${low.toFixed(digits)}–${high.toFixed(digits)}`;
  }
  if (format === 'percent') return `${minus((low * 100).toFixed(1))}–${minus((high * 100).toFixed(1))}%`;
  return `${format === 'difference' ? minus((low * 100).toFixed(1)) : formatNumber(low)} to ${
    format === 'difference' ? minus((high * 100).toFixed(1)) : formatNumber(high)
  }`;
}

/** Three figures, in the shortest usual notation: `0.0214`, `1,250`, `3.1e-7`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? '∞' : value < 0 ? '−∞' : 'NaN';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return minus(value.toExponential(1));
  return size >= 1000 ? formatCount(Math.round(value)) : minus(figures(value, 3));
}

/** `12,500`. */
export function formatCount(value: number): string {
  return minus(String(value).replace(/\B(?=(\d{3})+$)/g, ','));
}

/** Nines are what matters in a cosine: `0.9987`, `0.999994`; never rounded up to 1. */
export function formatCosine(value: number | null): string {
  if (value === null) return NONE;
  if (value === 1) return '1';
  const gap = 1 - value;
  const digits = gap > 0 ? Math.min(6, Math.max(4, Math.ceil(-Math.log10(gap)) + 1)) : 4;
  const text = value.toFixed(digits);
  return minus(Number(text) === 1 ? `>0.${'9'.repeat(digits)}` : text);
}

/** A share of two figures, however small: `11%`, `0.062%`. */
export function formatShare(value: number | null): string {
  if (value === null) return NONE;
  const percent = value * 100;
  if (percent !== 0 && Math.abs(percent) < 1e-3) return `${minus(percent.toExponential(1))}%`;
  return `${minus(figures(percent, 2))}%`;
}

/** A round number on an axis: `6 ms`, `2.5 MB`, without zeros that say nothing. */
export function formatTick(value: number, format: (value: number) => string): string {
  return format(value).replace(/(\.\d*?)0+(?!\d)/, (_, kept: string) => (kept === '.' ? '' : kept));
}

/** `32.1 dB`. */
export function formatDb(db: number): string {
  return `${minus(db.toFixed(1))} dB`;
}

/** `p < 0.001`, `p = 0.04`. */
export function formatP(p: number): string {
  return p < 0.001 ? 'p\u00a0<\u00a00.001' : `p\u00a0=\u00a0${figures(p, 2)}`;
}

/** The number of `noun`: `1 sample`, `2,000 samples`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${count === 1 ? noun : `${noun}s`}`;
}

/** With a capital at its beginning, for titles: metrics have names like `top-1`. */
export function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** At most `n` characters, the end left out. */
export function truncate(text: string, n: number): string {
  const chars = [...text];
  return chars.length <= n ? text : `${chars.slice(0, n - 1).join('')}…`;
}

/** At most `n` characters, the middle left out: both ends of a tensor's name tell something. */
export function shorten(text: string, n: number): string {
  const chars = [...text];
  if (chars.length <= n) return text;
  const head = Math.ceil((n - 1) / 2);
  return `${chars.slice(0, head).join('')}…${chars.slice(chars.length - (n - 1 - head)).join('')}`;
}

/** Fixed notation with `n` significant figures, without trailing zeros after the point beyond them. */
function figures(value: number, n: number): string {
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(n)))));
  return value.toFixed(Math.min(20, Math.max(0, n - 1 - magnitude)));
}

/** A real minus sign, which is as wide as the digits. */
function minus(text: string): string {
  return text
    .replace(/^-(?=.*[1-9])/, '−')
    .replace(/^-/, '')
    .replace('e-', 'e−')
    .replace('e+', 'e');
}

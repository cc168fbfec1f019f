/** The colours of the report: name, then light, then dark. Text colours hold WCAG AA (4.5:1) on every surface they stand on. */
export const PALETTE = {
  page: ['#faf9f6', '#121316'],
  surface: ['#ffffff', '#191b1f'],
  sunken: ['#f1efe9', '#22252a'],
  line: ['#e3e0d8', '#2e3238'],
  'line-strong': ['#c9c5ba', '#454a52'],
  ink: ['#1d1e20', '#edecea'],
  'ink-2': ['#4c4e52', '#b9bbc0'],
  'ink-3': ['#686a6f', '#9599a1'],
  accent: ['#0b6e5b', '#4fd1b1'],
  'accent-soft': ['#dff1ec', '#14352e'],
  blue: ['#2f5fb3', '#8fb4f5'],
  'blue-soft': ['#e4ecf9', '#1b2a44'],
  red: ['#b3392b', '#f28b7d'],
  'red-soft': ['#fbe9e6', '#3d1f1c'],
  amber: ['#8a5300', '#f0b454'],
  'amber-soft': ['#fdf1da', '#3a2b10'],
  heat: ['#2f5fb3', '#6f9ff0'],
} as const satisfies Readonly<Record<string, readonly [light: string, dark: string]>>;

export type Colour = keyof typeof PALETTE;

/** Text colours and the surfaces that each stands on. */
export const TEXT_ON: readonly (readonly [text: Colour, surfaces: readonly Colour[]])[] = [
  ['ink', ['page', 'surface', 'sunken', 'accent-soft', 'amber-soft', 'red-soft', 'blue-soft']],
  ['ink-2', ['page', 'surface', 'sunken', 'accent-soft', 'amber-soft', 'red-soft']],
  ['ink-3', ['page', 'surface', 'sunken']],
  ['accent', ['page', 'surface', 'accent-soft']],
  ['blue', ['page', 'surface', 'blue-soft']],
  ['red', ['page', 'surface', 'red-soft']],
  ['amber', ['page', 'surface', 'amber-soft']],
];

/** The palette as custom properties, for one theme. */
export function paletteCss(theme: 'light' | 'dark'): string {
  const index = theme === 'light' ? 0 : 1;
  return Object.entries(PALETTE)
    .map(([name, pair]) => `--${name}:${pair[index]};`)
    .join('');
}

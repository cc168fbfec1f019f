import { groupNotes, visible } from '@pare/verify';

/** `10.82 MB`, `345 B`: decimal units, as disks and networks are sold. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** `3.50 M`, `1.2 G`, `812`. */
export function count(n: number): string {
  const units = ['', ' k', ' M', ' G', ' T'];
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(2)}${units[unit]}`;
}

/** Columns as wide as their widest cell; numbers (all but the first column) to the right. */
export function columns(rows: readonly (readonly string[])[], gap = 2): string {
  const most = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: most }, (_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join(' '.repeat(gap))
        .trimEnd(),
    )
    .join('\n');
}

/** Notes of a transform for a terminal: those that say the same of many nodes are one line. */
export function noteLines(notes: readonly string[]): string[] {
  return groupNotes(notes).map(({ note, count: times }) => {
    const more = times > 1 ? ` (and ${times - 1} more like it)` : '';
    return `  ${visible(note)}${more}`;
  });
}

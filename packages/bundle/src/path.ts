/** Names that Windows gives to devices, whatever their ending. */
const DEVICES = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * Why `path` may not name a file of a bundle, or null when it may.
 *
 * A path is relative to the manifest, with forward slashes. It is used as a file name on every system and as a URL in a
 * browser, so it has nothing that means something to either: no `..`, no leading slash, no drive, and no `%`, because a URL
 * takes `%2e%2e` for `..` (WHATWG URL, "double-dot path segment").
 */
export function pathProblem(path: string): string | null {
  if (path === '') return 'it is empty';
  if (path.length > 512) return 'it is longer than 512 characters';
  if (path.startsWith('/')) return 'it is absolute';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const bad = /[\u0000-\u001f\u007f\\:*?"<>|%#]/.exec(path)?.[0];
  if (bad !== undefined) return `it contains ${JSON.stringify(bad)}`;
  if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(path))
    return 'it is not valid Unicode';
  for (const segment of path.split('/')) {
    if (segment === '') return 'it has an empty segment';
    if (segment === '.' || segment === '..') return `it has the segment "${segment}"`;
    if (/^ |[. ]$/.test(segment)) return `the segment "${segment}" begins or ends in a space, or ends in a dot`;
    if (segment.startsWith('.pare-')) return 'names that begin with ".pare-" are kept for writing bundles';
    if (DEVICES.test(segment)) return `"${segment}" is a device on Windows`;
  }
  return null;
}

/** Two paths with the same key are one file on a system that ignores case or composes characters. */
export function pathKey(path: string): string {
  return path.normalize('NFC').toLowerCase();
}

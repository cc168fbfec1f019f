import type { Evidence, VariantEvidence } from '../evidence.js';
import {
  capitalize,
  formatBytes,
  formatCosine,
  formatInterval,
  formatMs,
  formatRatio,
  formatValue,
  NONE,
  plural,
} from './format.js';
import { accuracyMeasured, cosineOf, dropText, metricOf } from './view.js';

/**
 * The measured variants that may be shipped as a Markdown table (GitHub flavoured), with a sentence on what they were measured
 * on: for the README of a model repository. Refused variants are left out.
 */
export function renderMarkdown(evidence: Evidence): string {
  const { variants, data, host, options, recommendation } = evidence;
  const rows = variants.filter((v) => v.isOriginal || v.verdict.status !== 'refused');
  const metric = metricOf(evidence);
  const timed = rows.some((v) => v.performance);
  const columns: [title: string, right: boolean, cell: (v: VariantEvidence) => string][] = [
    [
      'File',
      false,
      (v) =>
        (v.files[0] === undefined ? escapeMarkdown(v.name) : codeSpan(v.files[0])) +
        (v.name === recommendation.variant ? ' **recommended**' : ''),
    ],
    ['Size', true, (v) => formatBytes(v.bytes)],
  ];
  if (timed)
    columns.push(
      ['p50', true, (v) => (v.performance ? formatMs(v.performance.latency.p50) : NONE)],
      ['p95', true, (v) => (v.performance ? formatMs(v.performance.latency.p95) : NONE)],
      [
        'Speed-up',
        true,
        ({ performance, isOriginal }) => {
          const s = performance?.speedup;
          return s ? `${formatRatio(s.ratio)} (${formatInterval(s.interval, 'ratio')})` : isOriginal ? '1' : NONE;
        },
      ],
    );
  if (metric)
    columns.push(
      [
        capitalize(escapeMarkdown(metric.metric)),
        true,
        ({ accuracy: a }) =>
          a
            ? `${formatValue(a.value, a.format)}${a.interval ? ` (${formatInterval(a.interval, a.format)})` : ''}`
            : NONE,
      ],
      [
        'Drop',
        true,
        ({ accuracy: a }) => {
          const d = a && dropText(a);
          return d ? `${d.value}${d.interval && ` (${d.interval})`}` : NONE;
        },
      ],
    );
  if (rows.some((v) => cosineOf(v) !== null)) columns.push(['Cosine', true, (v) => formatCosine(cosineOf(v))]);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = [
    line(columns.map(([title]) => title)),
    line(columns.map(([, right]) => (right ? '---:' : '---'))),
    ...rows.map((v) => line(columns.map(([, , cell]) => cell(v)))),
  ];
  const parts = [
    accuracyMeasured(evidence)
      ? `In parentheses: 95% intervals. Measured on ${plural(data.evaluation, 'sample')} of ${escapeMarkdown(data.name)}${
          metric?.reference === 'original' ? ', against the original’s own answers because there are no labels' : ''
        }${data.calibration > 0 ? `; ${plural(data.calibration, 'other sample')} calibrated` : ''}.`
      : '**Accuracy was not measured.**',
    timed
      ? `Latency: ${escapeMarkdown(host.cpu)}, ${plural(options.threads, 'thread')}, ${escapeMarkdown(host.engine)}.`
      : '',
  ];
  return `${table.join('\n')}\n\n${parts.filter(Boolean).join(' ')}\n`;
}

/** Text that Markdown shows as it is, on one line. */
export function escapeMarkdown(text: string): string {
  return oneLine(text)
    .replace(/[\\`*_{}[\]<>#|~$]/g, '\\$&')
    .replace(/&/g, '&amp;');
}

/** Code in a cell of a table: the fence is longer than any run of backticks inside, a bar does not end the cell. */
function codeSpan(text: string): string {
  const code = oneLine(text).replace(/\|/g, '\\|');
  const fence = '`'.repeat(Math.max(0, ...[...code.matchAll(/`+/g)].map((m) => m[0].length)) + 1);
  const space = /^`|`$/.test(code) ? ' ' : '';
  return `${fence}${space}${code}${space}${fence}`;
}

function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/\s+/g, ' ').replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/g, '\ufffd');
}

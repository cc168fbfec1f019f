import type { HostInfo, TrainingEvidence } from '../evidence.js';
import { describeKept, formatSeconds, trainingWords } from './describe-training.js';
import { formatBytes, formatNumber, formatValue } from './format.js';
import { type Content, html } from './html.js';
import { renderPage } from './page.js';
import { section } from './parts.js';
import { training as trainingSection } from './sections/training.js';

/** What a page on training shows beside how it went. */
export interface TrainingPage {
  /** The files of the model before and after, with their size, external data included. */
  readonly before: { readonly file: string; readonly bytes: number };
  readonly after: { readonly file: string; readonly bytes: number };
  /** How it was trained; several where a model learned in several runs. */
  readonly training: readonly TrainingEvidence[];
  /** What the reader should know beside it, one name and a short value each: teacher, sparsity, precision. */
  readonly facts?: readonly (readonly [name: string, value: string])[] | undefined;
  /** A command line that repeats the run. */
  readonly command: string;
  readonly host: HostInfo;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
}

/** The report on a command that trains: one self-contained HTML page, in the style of `renderReport`. */
export function renderTraining(page: TrainingPage): string {
  const { before, after, training, command, host, createdAt } = page;
  const main = training.at(-1);
  const { done } = trainingWords(main?.what);
  const name = baseName(after.file);
  return renderPage({
    title: `${name} · ${done.toLowerCase()}`,
    pare: host.pare,
    navigation: { training: 'Training', repeat: 'Repeat' },
    body: html`
<div class="hero">
<p class="eyebrow"><bdi>${baseName(before.file)}</bdi></p>
<h1>${done}: <em><bdi>${name}</bdi></em></h1>
${main && html`<p class="reason">${describeKept(main)}</p>`}
${main?.score && html`<div class="banner" role="note"><strong>Not judged yet.</strong> The validation samples chose these weights, so the score on them flatters. Judge on samples that played no part: <code>pare verify</code>.</div>`}
${tiles(page, main)}
<p class="meta">${createdAt.slice(0, 10)}, ${host.cpu}, ${host.engine}, Pare ${host.pare}.</p>
</div>${trainingSection({ training })}${
      command !== '' &&
      section(
        'repeat',
        'Repeat it',
        'The same command, data and machine give the same bits.',
        html`<div class="code"><pre><code>${command}</code></pre></div>`,
      )
    }`,
  });
}

function tiles({ before, after, facts = [], training }: TrainingPage, main: TrainingEvidence | undefined): Content {
  const items: (readonly [label: string, value: Content, below: Content])[] = [];
  const [first, kept] = [main?.epochs[0], main?.epochs[main.best - 1]];
  if (main?.score) {
    const { name, format, before: start } = main.score;
    const value = kept ? kept.score : start;
    const from = start === null || !kept ? null : `${formatValue(start, format)} before`;
    items.push([`Validation ${name}`, formatValue(value, format), from]);
  }
  if (kept)
    items.push([
      'Loss',
      formatNumber(kept.loss),
      first !== kept && first && `from ${formatNumber(first.loss)} in epoch 1`,
    ]);
  const same = after.bytes === before.bytes;
  items.push(['Size', formatBytes(after.bytes), same ? 'as before' : `from ${formatBytes(before.bytes)}`]);
  const seconds = training.reduce((sum, t) => sum + t.seconds, 0);
  items.push(['Time', formatSeconds(seconds), 'of the training steps']);
  for (const [label, value] of facts) items.push([label, value, null]);
  return html`<dl class="tiles">${items.map(
    ([label, value, below]) =>
      html`<div><dt>${label}</dt><dd><span class="figure">${value}</span>${below && html`<span class="below">${below}</span>`}</dd></div>`,
  )}</dl>`;
}

const baseName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;

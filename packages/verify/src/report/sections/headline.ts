import type { Evidence, VariantEvidence } from '../../evidence.js';
import {
  capitalize,
  formatBytes,
  formatCosine,
  formatInterval,
  formatMs,
  formatRatio,
  formatValue,
  plural,
} from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { accuracyMeasured, cosineOf, dropText, dropVerdict, gatesOf, originalOf, recommendedOf } from '../view.js';

/** The answer first: which variant, why, and the numbers that decide. */
export function headline(evidence: Evidence): Html {
  const { recommendation, model, options, host } = evidence;
  const best = recommendedOf(evidence);
  const keep = best === undefined || best.isOriginal;
  const target = options.target === null ? '' : ` for ${options.target}`;
  return html`
<div class="hero">
<p class="eyebrow"><bdi>${model.name}</bdi>${target}</p>
<h1>${keep ? html`Keep the original` : html`Ship <em><bdi>${recommendation.variant}</bdi></em>`}</h1>
<p class="reason">${recommendation.reason}</p>
${banners(evidence)}
${best && tiles(evidence, best)}
${best && gates(evidence, best)}
<p class="meta">${plural(evidence.variants.length - 1, 'variant')} measured against the original${evidence.refused.length > 0 && `, ${evidence.refused.length} refused before that`}. ${evidence.createdAt.slice(0, 10)}, ${host.cpu}, ${plural(options.threads, 'thread')}, ${host.engine}.</p>
</div>`;
}

/** What must not be overlooked: accuracy that nobody measured, and everything that the run warns of. */
function banners(evidence: Evidence): Content {
  const { data, warnings } = evidence;
  const measured = accuracyMeasured(evidence);
  const why =
    data.kind === 'random'
      ? 'No data was given, so the inputs were random numbers of the right shapes. What is said of size and speed holds; how close the outputs are is known for random inputs only, and whether the answers are still right is not known at all.'
      : 'There was data but no metric that fits it. How close the outputs are is known; whether the answers are still right is not.';
  const all = [...new Set([...warnings, ...data.warnings])].filter(
    (w) => measured || !/^accuracy was not measured/i.test(w),
  );
  return [
    !measured &&
      html`<div class="banner loud" role="alert"><strong>Accuracy was not measured.</strong> ${why} Run again with <code>--data</code> and labels before you ship.</div>`,
    measured &&
      evidence.variants.some((v) => v.accuracy?.reference === 'original') &&
      html`<div class="banner" role="note"><strong>No labels.</strong> Accuracy here is agreement with the original’s own answers, not with the truth.</div>`,
    all.length > 0 &&
      html`<div class="banner" role="note">${all.length === 1 ? html`<strong>Note.</strong> ${all[0]}` : html`<strong>Notes</strong><ul>${all.map((w) => html`<li>${w}</li>`)}</ul>`}</div>`,
  ];
}

function tiles(evidence: Evidence, best: VariantEvidence): Html {
  const original = originalOf(evidence);
  const items: Content[] = [];
  const add = (label: string, value: Content, below: Content): void => {
    items.push(
      html`<div><dt>${label}</dt><dd><span class="figure">${value}</span><span class="below">${below}</span></dd></div>`,
    );
  };
  const isOriginal = best.isOriginal;
  add(
    'Size',
    formatBytes(best.bytes),
    original && !isOriginal && `${percentOf(best.bytes, original.bytes)} of ${formatBytes(original.bytes)}`,
  );
  const { performance, accuracy } = best;
  if (performance) {
    const { latency, speedup } = performance;
    if (speedup) {
      add(
        'Speed-up',
        speedup.verdict === 'no difference measured' ? 'none measured' : formatRatio(speedup.ratio),
        interval(formatInterval(speedup.interval, 'ratio')),
      );
    }
    const before = original?.performance?.latency.p50;
    add(
      'Latency p50',
      formatMs(latency.p50),
      !isOriginal && before !== undefined
        ? `from ${formatMs(before)}; p95 ${formatMs(latency.p95)}`
        : `p95 ${formatMs(latency.p95)}, p99 ${formatMs(latency.p99)}`,
    );
  }
  if (accuracy) {
    add(
      capitalize(accuracy.reference === 'labels' ? accuracy.metric : `${accuracy.metric} (agreement)`),
      formatValue(accuracy.value, accuracy.format),
      accuracy.interval
        ? interval(formatInterval(accuracy.interval, accuracy.format))
        : plural(accuracy.samples, 'sample'),
    );
    const drop = dropText(accuracy);
    if (drop) add('Drop', drop.value, html`${drop.interval && `${drop.interval}: `}${dropVerdict(accuracy)}`);
  }
  const cosine = cosineOf(best);
  if (!accuracy && cosine !== null) add('Cosine to the original', formatCosine(cosine), 'of the worst output');
  return html`<dl class="tiles">${items}</dl>`;
}

function interval(text: string): Html {
  return html`95% interval <span class="nowrap">${text}</span>`;
}

function gates(evidence: Evidence, best: VariantEvidence): Content {
  const results = gatesOf(evidence, best);
  if (results.length === 0) return null;
  const mark = { holds: '✓', fails: '✕', unknown: '?' };
  const word = { holds: 'holds', fails: 'fails', unknown: 'not measured' };
  return html`<ul class="gates" aria-label="Gates">${results.map(
    (g) =>
      html`<li class="${g.state}"><span aria-hidden="true">${mark[g.state]}</span> ${g.text}<span class="hidden">: ${word[g.state]}</span></li>`,
  )}</ul>`;
}

function percentOf(part: number, whole: number): string {
  const p = (part / whole) * 100;
  return `${p >= 10 ? p.toFixed(0) : p.toFixed(1)}%`;
}

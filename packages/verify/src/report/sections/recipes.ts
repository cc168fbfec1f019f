import type { Evidence, RecipeStep, VariantEvidence } from '../../evidence.js';
import { describeOptions, describeStep, groupNotes } from '../describe.js';
import { formatCount, plural } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { chip, details, nameOf, section } from '../parts.js';
import { kindOf, originalOf } from '../view.js';

const NOTES_SHOWN = 8;

/** What was done to each variant, in words, and why it has its verdict. */
export function recipes(evidence: Evidence): Html {
  const made = evidence.variants.filter((v) => !v.isOriginal);
  if (made.length === 0) return html``;
  const original = originalOf(evidence);
  return section(
    'recipes',
    'What was done',
    'Each variant is made from the original by the steps below, in this order.',
    [...made]
      .sort((a, b) => rank(a) - rank(b))
      .map((v) =>
        details(
          html`${nameOf(v)} ${chip(kindOf(v))}<span class="summary-text">${v.recipe.map((s) => s.transform).join(' → ')}</span>`,
          html`<div class="recipe">${v.verdict.reasons.map((r) => html`<p>${r}</p>`)}${steps(v.recipe)}${files(v, original)}</div>`,
          v.verdict.status === 'recommended',
        ),
      ),
  );
}

function rank(v: VariantEvidence): number {
  return ['recommended', 'accepted', 'refused'].indexOf(v.verdict.status);
}

export function steps(recipe: readonly RecipeStep[]): Content {
  if (recipe.length === 0) return null;
  return html`<ol class="steps">${recipe.map((step) => {
    const options = describeOptions(step.options);
    const groups = groupNotes(step.notes);
    const rest = groups.slice(NOTES_SHOWN);
    return html`<li><p>${describeStep(step)}</p>${options.length > 0 && html`<p class="options">${options.map((o) => html`<code>${o}</code> `)}</p>`}${
      groups.length > 0 && notes(groups.slice(0, NOTES_SHOWN))
    }${rest.length > 0 && details(`${plural(rest.length, 'more note')} of other kinds`, notes(rest))}</li>`;
  })}</ol>`;
}

function notes(groups: ReturnType<typeof groupNotes>): Html {
  return html`<ul>${groups.map(({ note, count }) => html`<li>${note}${count > 1 && html` <span class="more">and ${formatCount(count - 1)} more like it</span>`}</li>`)}</ul>`;
}

function files(v: VariantEvidence, original: VariantEvidence | undefined): Content {
  const config = Object.entries(v.sessionConfig);
  if (v.files.length === 0 && config.length === 0) return null;
  return html`<p class="files">${v.files.map((f) => html`<code>${f}</code> `)}${
    v.sha256 !== null &&
    v.sha256 !== original?.sha256 &&
    html`<span class="hash">SHA-256 ${v.sha256.slice(0, 16)}…</span>`
  }${config.length > 0 && html`<br>Needs the session config ${config.map(([k, value]) => html`<code>${k}=${value}</code> `)}`}</p>`;
}

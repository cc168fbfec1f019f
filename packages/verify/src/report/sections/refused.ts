import type { Evidence, RecipeStep } from '../../evidence.js';
import { type Content, html } from '../html.js';
import { chip, details, section } from '../parts.js';
import { steps } from './recipes.js';

/** Every variant that is not offered, with its reason: those that were measured, and those that never were. */
export function refused({ variants, refused: unmeasured }: Evidence): Content {
  const items: { name: string; reasons: readonly string[]; measured: boolean; recipe: readonly RecipeStep[] }[] = [
    ...variants
      .filter((v) => v.verdict.status === 'refused')
      .map((v) => ({ name: v.name, reasons: v.verdict.reasons, measured: true, recipe: [] })),
    ...unmeasured.map((r) => ({ name: r.name, reasons: [r.reason], measured: false, recipe: r.recipe })),
  ];
  if (items.length === 0) return null;
  return section(
    'refused',
    'Refused',
    'Variants that were tried or planned, and are not offered.',
    html`<dl class="refusals">${items.map(
      (item) =>
        html`<div><dt><bdi>${item.name}</bdi> ${chip(item.measured ? 'refused' : 'not measured')}</dt><dd>${item.reasons.map((r) => html`<p>${r}</p>`)}${item.recipe.length > 0 && details('Its recipe', steps(item.recipe))}</dd></div>`,
    )}</dl>`,
  );
}

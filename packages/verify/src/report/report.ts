import type { Evidence } from '../evidence.js';
import { type Content, html } from './html.js';
import { renderPage } from './page.js';
import { accuracy } from './sections/accuracy.js';
import { headline } from './sections/headline.js';
import { numerics } from './sections/numerics.js';
import { performance } from './sections/performance.js';
import { provenance } from './sections/provenance.js';
import { recipes } from './sections/recipes.js';
import { refused } from './sections/refused.js';
import { stability } from './sections/stability.js';
import { summary } from './sections/summary.js';
import { tradeoff } from './sections/tradeoff.js';
import { training } from './sections/training.js';

const SECTIONS: readonly ((evidence: Evidence) => Content)[] = [
  headline,
  summary,
  tradeoff,
  recipes,
  training,
  refused,
  accuracy,
  numerics,
  performance,
  stability,
  provenance,
];

const NAVIGATION: Readonly<Record<string, string>> = {
  variants: 'Variants',
  tradeoff: 'Trade-off',
  recipes: 'Recipes',
  training: 'Training',
  refused: 'Refused',
  confusion: 'Confusion',
  layers: 'Layers',
  latency: 'Latency',
  host: 'Host',
  repeat: 'Repeat',
};

/** The report on a run: one self-contained HTML page (see `renderPage`). */
export function renderReport(evidence: Evidence): string {
  return renderPage({
    title: `${evidence.recommendation.variant} · ${evidence.model.name}`,
    pare: evidence.host.pare,
    navigation: NAVIGATION,
    body: html`${SECTIONS.map((section) => section(evidence))}`,
  });
}

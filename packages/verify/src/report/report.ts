import type { Evidence } from '../evidence.js';
import { html, raw } from './html.js';
import { SCRIPT, SCRIPT_HASH } from './script.js';
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
import { STYLE } from './style.js';

const SECTIONS: readonly ((evidence: Evidence) => ReturnType<typeof accuracy>)[] = [
  tradeoff,
  recipes,
  refused,
  accuracy,
  numerics,
  performance,
  stability,
  provenance,
];

/** Entries of the navigation, where the page has them. */
const NAVIGATION: Readonly<Record<string, string>> = {
  variants: 'Variants',
  tradeoff: 'Trade-off',
  recipes: 'Recipes',
  refused: 'Refused',
  confusion: 'Confusion',
  layers: 'Layers',
  latency: 'Latency',
  host: 'Host',
  repeat: 'Repeat',
};

/**
 * The report on a run: one HTML page that needs no network and no script, light and dark, from a phone's width up. Everything
 * read from models and data is escaped, and the page's own policy lets neither another script run nor anything be fetched.
 */
export function renderReport(evidence: Evidence): string {
  const body = html`${headline(evidence)}${summary(evidence)}${SECTIONS.map((section) => section(evidence))}`;
  const links = Object.entries(NAVIGATION).filter(([id]) => body.text.includes(` id="${id}"`));
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src '${SCRIPT_HASH}'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Pare ${evidence.host.pare}">
<title>${evidence.recommendation.variant} · ${evidence.model.name} · Pare</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header class="top"><div><a class="brand" href="#top">Pare</a><nav aria-label="Sections">${links.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</nav><button class="theme" type="button" hidden aria-label="Switch between light and dark">Dark</button></div></header>
<main id="top">${body}
</main>
<script type="module">${raw(SCRIPT)}</script>
</body>
</html>
`.text;
}

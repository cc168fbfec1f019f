import { type Content, html, raw } from './html.js';
import { SCRIPT, SCRIPT_HASH } from './script.js';
import { STYLE } from './style.js';

export interface Page {
  readonly title: string;
  /** Version of Pare. */
  readonly pare: string;
  /** Entries of the navigation by the id of their section; those that the page does not have are left out. */
  readonly navigation: Readonly<Record<string, string>>;
  readonly body: Content;
}

/**
 * One HTML page that needs no network and no script, light and dark, from a phone's width up. Everything read from models and
 * data is escaped, and the page's own policy lets neither another script run nor anything be fetched.
 */
export function renderPage({ title, pare, navigation, body }: Page): string {
  const content = html`${body}`;
  const links = Object.entries(navigation).filter(([id]) => content.text.includes(` id="${id}"`));
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src '${SCRIPT_HASH}'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Pare ${pare}">
<title>${title} · Pare</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header class="top"><div><a class="brand" href="#top">Pare</a><nav aria-label="Sections">${links.map(([id, text]) => html`<a href="#${id}">${text}</a>`)}</nav><button class="theme" type="button" hidden aria-label="Switch between light and dark">Dark</button></div></header>
<main id="top">${content}
</main>
<script type="module">${raw(SCRIPT)}</script>
</body>
</html>
`.text;
}

/** Markup that is safe to put into a page as it is. Only `html` and `raw` make it. */
export class Html {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

/** What may stand in a template: text is escaped, markup is not, lists are joined, nothing is nothing. */
export type Content = Html | string | number | null | undefined | false | readonly Content[];

/**
 * HTML (and SVG inside it) from a template; every value is escaped for text and for quoted attributes alike, so a name from a
 * file can never become markup. Attribute values must stand in double quotes.
 */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  let text = strings[0] as string;
  for (const [i, value] of values.entries()) text += render(value) + (strings[i + 1] as string);
  return new Html(text);
}

/** Markup of our own (styles, scripts) that goes in unescaped. Never for anything that was read. */
export function raw(text: string): Html {
  return new Html(text);
}

function render(value: Content): string {
  if (value === null || value === undefined || value === false) return '';
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(render).join('');
  return escapeHtml(String(value));
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const NO_PLACE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\p{Surrogate}\p{Noncharacter_Code_Point}]/gu;

/**
 * Text as HTML. Characters that HTML has no place for (controls, lone surrogates, noncharacters) and those that reorder the text around them
 * (bidirectional embeddings and overrides) become U+FFFD.
 */
export function escapeHtml(text: string): string {
  return text.replace(NO_PLACE, '\ufffd').replace(/[&<>"']/g, (c) => ENTITIES[c] as string);
}

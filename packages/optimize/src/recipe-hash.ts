import type { Recipe } from './recipe.js';

/**
 * SHA-256, hex, of what a recipe does: its steps with their options, and its runtime config; not its name and reason. Equal
 * recipes have equal hashes whatever the order of their keys.
 */
export async function hashRecipe({
  steps,
  sessionConfig = {},
}: Pick<Recipe, 'steps' | 'sessionConfig'>): Promise<string> {
  const text = new TextEncoder().encode(canonical({ steps, sessionConfig }));
  const digest = await crypto.subtle.digest('SHA-256', text);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** JSON with sorted keys and without what is undefined. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${canonical(v)}`).join(',')}}`;
}

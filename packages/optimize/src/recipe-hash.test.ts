import { expect, it } from 'vitest';
import { hashRecipe } from './recipe-hash.js';

const step = (options: Record<string, unknown>) => ({ steps: [{ transform: 'float16' as const, options }] });

it('hashes what a recipe does', async () => {
  // printf '{"sessionConfig":{},"steps":[{"options":{"type":"float16"},"transform":"float16"}]}' | sha256sum
  const hash = '19d07707fadaadce808cadcd2df6e7981d66dc65370a784ff5f973fd0a5d79dc';
  expect(await hashRecipe(step({ type: 'float16' }))).toBe(hash);
  expect(await hashRecipe(JSON.parse(JSON.stringify({ why: 'so', name: 'x', ...step({ type: 'float16' }) })))).toBe(
    hash,
  );
});

it('does not depend on the order of keys, but on every value', async () => {
  const one = await hashRecipe(step({ type: 'float16', exclude: ['a', 'b'], keepIo: undefined }));
  expect(await hashRecipe(step({ exclude: ['a', 'b'], type: 'float16' }))).toBe(one);
  expect(await hashRecipe(step({ exclude: ['b', 'a'], type: 'float16' }))).not.toBe(one);
  expect(await hashRecipe({ ...step({ exclude: ['a', 'b'], type: 'float16' }), sessionConfig: { a: '1' } })).not.toBe(
    one,
  );
});

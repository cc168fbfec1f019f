import type { ModelFacts } from './facts.js';

/*
 * What speaks against a variant of one model: a clause for a sentence, or undefined.
 */

/** Share of the weights in products below which integer products alone are not worth their overhead. */
const WORTH = 0.25;

export const noProducts = (facts: ModelFacts): string | undefined =>
  facts.productBytes === 0 ? 'it has no matrix product with a constant weight' : undefined;

/** Blocks of 4-bit weights exist for products and lookups alone. */
export const fewProducts = (facts: ModelFacts): string | undefined =>
  noProducts(facts) ??
  (facts.productBytes < facts.weightBytes / 10
    ? `only ${percent(facts.productBytes, facts.weightBytes)} of its weights are in matrix products and lookups, which alone have a 4-bit form`
    : undefined);

export const noLayers = (facts: ModelFacts): string | undefined =>
  facts.convolutionBytes + facts.productBytes === 0
    ? 'it has no convolution and no matrix product with a constant weight'
    : undefined;

/** `others`: what becomes of convolutions, which are most of the model, a clause. */
export const mostlyConvolution =
  (others: string) =>
  (facts: ModelFacts): string | undefined =>
    facts.productBytes < WORTH * facts.weightBytes
      ? `only ${percent(facts.productBytes, facts.weightBytes)} of its weights are in matrix products, and ${others}`
      : undefined;

/** Integer convolutions with a range measured at run time take 1.4 to 2.8 times the float time, native and on WASM. */
export const slowConvolutions = mostlyConvolution('convolutions get slower when their range is measured at run time');

const percent = (part: number, whole: number): string => `${Math.round((100 * part) / Math.max(1, whole))}%`;

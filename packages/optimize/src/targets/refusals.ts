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

/** Integer convolutions with a range measured at run time take 1.4 to 2.4 times the float time, native and on WASM. */
export const mostlyConvolution = (facts: ModelFacts): string | undefined =>
  facts.productBytes < WORTH * facts.weightBytes
    ? `only ${percent(facts.productBytes, facts.weightBytes)} of its weights are in matrix products, and convolutions get slower when their range is measured at run time`
    : undefined;

/** `rows`: fewer do not pay for measuring the range of an activation. */
export const fewRows =
  (rows: number) =>
  (facts: ModelFacts): string | undefined =>
    facts.rows !== null && facts.rows < rows
      ? `its matrix products have ${facts.rows} rows at most, and integer products pay from ${rows} on`
      : undefined;

const percent = (part: number, whole: number): string => `${Math.round((100 * part) / Math.max(1, whole))}%`;

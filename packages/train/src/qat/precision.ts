import { PareError } from '@pare/core';

/** Bits of a quantized number. */
export type Bits = 2 | 3 | 4 | 8;

/** Bits of weights and of what is multiplied with them. Without `activations` those stay in float (weight-only). */
export interface Precision {
  readonly weights: Bits;
  readonly activations?: Bits | undefined;
}

/**
 * The precision that a name like `w4a8` (4-bit weights, 8-bit activations) or `w4` (weights only) stands for.
 * @throws PareError `bad-option` for anything else.
 */
export function parsePrecision(name: string): Precision {
  const [, weights, activations] = /^w([2348])(?:a([2348]))?$/.exec(name) ?? [];
  if (weights)
    return { weights: Number(weights) as Bits, activations: activations ? (Number(activations) as Bits) : undefined };
  throw new PareError(
    'bad-option',
    `"${name}" is no precision: write w4a8 for 4-bit weights and 8-bit activations, or w4 for weights alone (2, 3, 4 or 8 bits).`,
  );
}

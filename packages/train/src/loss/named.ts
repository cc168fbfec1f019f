import { PareError } from '@pare/core';
import { binaryCrossEntropy } from './binary-cross-entropy.js';
import { crossEntropy } from './cross-entropy.js';
import { ctc } from './ctc.js';
import type { Loss } from './loss.js';
import { cosine, huber, mse } from './regression.js';
import { triplet } from './triplet.js';

/** Losses that the truth of a sample is enough for, by the name that commands and configurations use. */
export const LOSSES = {
  'cross-entropy': crossEntropy,
  bce: binaryCrossEntropy,
  mse,
  huber,
  cosine,
  triplet,
  ctc,
} as const satisfies Readonly<Record<string, () => Loss>>;

/** The loss of that name with default options. @throws PareError `bad-option` with the names there are. */
export function namedLoss(name: string): Loss {
  if (Object.hasOwn(LOSSES, name)) return LOSSES[name as keyof typeof LOSSES]();
  throw new PareError('bad-option', `There is no loss "${name}"; there are ${Object.keys(LOSSES).join(', ')}.`);
}

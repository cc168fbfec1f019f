import { type Inference, inferTypes, type Model } from '@pare/core';

/** What is known of the values of a model: types, and the elements of small tensors. */
export type Knowledge = Pick<Inference, 'typeOf' | 'valuesOf' | 'annotate'>;

/** What the model declares, and what follows from it. */
export function learn(model: Model): Knowledge {
  return inferTypes(model);
}

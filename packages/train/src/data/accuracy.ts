import { elementCount, type HostTensor, type TypedArray } from '@pare/core';

/** How many answers were right, of how many that count. */
export interface RightAnswers {
  readonly right: number;
  readonly counted: number;
}

/**
 * Compares logits (or probabilities) [N, C, d...] with class numbers [N, d...]: the answer is the class with the largest number,
 * the first of equal ones. `axis` is that of the classes (default 1, negative from the end). Labels equal to `ignoreIndex` do not
 * count, nor do samples from `count` on (those that fill up a batch).
 */
export function rightAnswers(
  logits: HostTensor,
  label: HostTensor,
  options: { readonly axis?: number; readonly ignoreIndex?: number | undefined; readonly count?: number } = {},
): RightAnswers {
  const { dims } = logits;
  const axis = ((options.axis ?? 1) + dims.length) % dims.length;
  const classes = dims[axis] as number;
  const inner = elementCount(dims.slice(axis + 1));
  const perSample = elementCount(dims.slice(1)) / classes;
  const values = logits.data as Float32Array;
  const truth = label.data as TypedArray;
  const positions = (options.count ?? (dims[0] as number)) * perSample;
  let right = 0;
  let counted = 0;
  for (let i = 0; i < positions; i++) {
    const wanted = Number(truth[i]);
    if (wanted === options.ignoreIndex) continue;
    const start = Math.floor(i / inner) * classes * inner + (i % inner);
    let best = 0;
    for (let c = 1; c < classes; c++) {
      if ((values[start + c * inner] as number) > (values[start + best * inner] as number)) best = c;
    }
    if (best === wanted) right++;
    counted++;
  }
  return { right, counted };
}

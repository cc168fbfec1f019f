import { elementCount, type HostTensor, type TypedArray } from '@pare/core';

/** How many answers were right, of how many that count. */
export interface RightAnswers {
  readonly right: number;
  readonly counted: number;
}

/**
 * Compares logits (or probabilities) [N, C, d...] with class numbers [N, d...]: the answer is the class with the largest number,
 * the first of equal ones. The classes may be on another axis: it is the one that the labels lack. Labels equal to `ignoreIndex`
 * do not count, nor do samples from `count` on (those that fill up a batch).
 */
export function rightAnswers(
  logits: HostTensor,
  label: HostTensor,
  options: { readonly ignoreIndex?: number | undefined; readonly count?: number } = {},
): RightAnswers {
  const { dims } = logits;
  const axis = classAxis(dims, label.dims);
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

/** The first axis, the batch aside, without which `dims` are those of the labels; 1 when there is none. */
function classAxis(dims: readonly number[], labelDims: readonly number[]): number {
  const axis = dims.findIndex((_, i) => i > 0 && dims.filter((_, d) => d !== i).join() === labelDims.join());
  return Math.max(axis, 1);
}

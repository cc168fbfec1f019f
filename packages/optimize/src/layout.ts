import { huggingFacePath } from '@pare/bundle';

/** Names of files: Pare's own, or those that transformers.js looks for. */
export type Layout = 'pare' | 'hf';

export const LAYOUTS: readonly Layout[] = ['pare', 'hf'];

/** Variants that transformers.js finds by its own word for their precision. */
const HUGGING_FACE: Readonly<Record<string, string>> = {
  original: 'fp32',
  fp32: 'fp32',
  fp16: 'fp16',
  int8: 'int8',
  'int8-dynamic': 'q8',
  'int4-weights': 'q4',
  'int4-fp16': 'q4f16',
};

/**
 * Where the model file of a variant lies in the output folder. Names differ where variants do: a precision that Hugging Face has
 * no word for is named after the variant (`onnx/model_int8_weights.onnx`, to be loaded by that name). Only `original` and
 * `fp32`, the original simplified, share one; `taken` are the paths that are not free any more.
 */
export function modelPath(variant: string, layout: Layout, taken: readonly string[] = []): string {
  if (layout === 'pare') return `${variant}.onnx`;
  const own = `onnx/model_${variant.replaceAll('-', '_')}.onnx`;
  const dtype = Object.hasOwn(HUGGING_FACE, variant) ? HUGGING_FACE[variant] : undefined;
  const path = dtype === undefined ? own : (huggingFacePath(dtype) ?? own);
  return taken.includes(path) ? own : path;
}

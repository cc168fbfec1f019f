import {
  type Model,
  PareError,
  Tensor,
  type Transform,
  type TransformContext,
  type TransformResult,
  viewBytes,
} from '@pare/core';
import { replaceWeight } from './layers.js';
import { type LayerMask, planMasks, type SparsityOptions } from './masks.js';
import { restoreMoments } from './restore-moments.js';
import { refuseOneShot } from './structured/observe.js';

/** Options of `pruneWeights`. */
export interface PruneWeightsOptions extends SparsityOptions {
  /**
   * Give what is left the means and variances of the dense model (`restoreMoments`), which saves most of what can be saved without
   * training. Default: with `samples` and an engine.
   */
  readonly restore?: boolean | undefined;
}

/**
 * Unstructured pruning in one shot: weights of the least score become 0. Exactly as many as asked go; of equal scores the first in
 * the model. Shapes stay as they are, so the model is smaller only when it is compressed, and faster only where a runtime has
 * kernels for sparse weights: those of ONNX Runtime are dense.
 *
 * Constant float32 and float16 weights of Conv, ConvTranspose, Gemm and MatMul are taken; biases and normalizations are
 * not, nor is a weight that others read too. Weights are read one at a time, and again when the model is written: memory is bounded by
 * the largest of them.
 * @throws PareError `bad-option` for options that contradict each other or lack what the score needs; `unsupported` for a quantized
 *   model; `bad-model` for weights that are not finite, when they are first read, at the latest when the model is written.
 */
export function pruneWeights(options: PruneWeightsOptions): Transform {
  return { name: 'pruneWeights', apply: (model, context) => apply(model, options, context) };
}

async function apply(model: Model, options: PruneWeightsOptions, context: TransformContext): Promise<TransformResult> {
  const { samples, restore = samples !== undefined && context.engine !== undefined } = options;
  if (restore) {
    if (!samples) throw new PareError('bad-option', 'Restoring means and variances needs samples: give samples.');
    refuseOneShot(samples);
  }
  const plan = await planMasks(model, options, context);
  const masks = plan.masks.filter(({ pruned }) => pruned > 0);
  const notes = masks.map(describe);
  const dense = model.clone();
  for (const mask of masks) replace(mask);
  const sizes = plan.masks.reduce((sum, { layer }) => sum + layer.tensor.size, 0);
  const pruned = masks.reduce((sum, mask) => sum + mask.pruned, 0);
  if (plan.masks.length === 0)
    notes.push('Nothing to prune: no Conv, ConvTranspose, Gemm or MatMul with a float constant was left in.');
  else notes.push(`${pruned} of ${sizes} weights are pruned, ${percent(pruned / sizes)}.`);
  if (restore && samples && masks.length > 0) {
    notes.push(...(await restoreMoments({ reference: dense, samples }).apply(model, context)).notes);
  }
  return { changed: masks.length, notes: [...notes, ...plan.notes] };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function describe({ layer, pruned }: LayerMask): string {
  const { nodes, tensor } = layer;
  const shared = nodes.length > 1 ? ` (shared by ${nodes.length} nodes)` : '';
  const all = pruned === tensor.size ? ': nothing of its input is left in its output' : '';
  return `${nodes[0].label}: ${percent(pruned / tensor.size)} of its ${tensor.size} weights are pruned${shared}${all}.`;
}

/** Puts the pruned weight in the place of the old one; it is computed when it is asked for. */
function replace({ layer, mask }: LayerMask): void {
  const { tensor } = layer;
  const produce = async (): Promise<Uint8Array> => {
    // A copy: bytes of a tensor are never written to.
    const bytes = new Uint8Array(await tensor.load());
    const values = viewBytes(tensor.dtype, bytes);
    const kept = await mask();
    for (let i = 0; i < kept.length; i++) if (kept[i] === 0) values[i] = 0;
    return bytes;
  };
  const pruned = new Tensor(tensor.dtype, tensor.dims, { kind: 'producer', byteLength: tensor.byteLength, produce });
  replaceWeight(layer, pruned);
}

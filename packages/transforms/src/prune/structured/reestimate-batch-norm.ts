import {
  inferTypes,
  isTensorType,
  type Model,
  type Node,
  type Transform,
  type TransformResult,
  type Value,
} from '@pare/core';
import { isWeight, storeWeights } from '../../fuse/weights.js';
import {
  engineOf,
  type Observed,
  type ObserveOptions,
  observeChannels,
  refuseOneShot,
  type Samples,
} from './observe.js';
import { replaceConstant } from './replace-constant.js';

/** Options of `reestimateBatchNorm`. */
export interface ReestimateOptions {
  /** Samples of what the model will see: an array or a data set, which is read several times. A few hundred are enough. */
  readonly samples: Samples;
  /** Threads of the runtime; 0 lets it choose. Default 0. */
  readonly threads?: number | undefined;
}

/**
 * Gives every BatchNormalization the mean and variance that its input really has over the samples, after weights were changed:
 * exact moments of the model as it will run, where a moving average during training would still remember the old weights. Layers
 * are done in the order of the network, those side by side together: as many passes over the samples as there are in a row.
 * @throws PareError `bad-option` without an engine or with samples that can be read only once; `bad-data` without samples;
 *   `engine`; `aborted`.
 */
export function reestimateBatchNorm(options: ReestimateOptions): Transform {
  return {
    name: 'reestimateBatchNorm',
    apply: (model, context) => {
      const { signal, onProgress } = context;
      refuseOneShot(options.samples);
      return reestimate(model, { ...options, engine: engineOf(context), signal }, (done, total) =>
        onProgress?.('reestimateBatchNorm', done, total),
      );
    },
  };
}

async function reestimate(
  model: Model,
  options: ObserveOptions,
  onProgress: (done: number, total: number) => void,
): Promise<TransformResult> {
  const levels = levelsOf(model);
  const types = inferTypes(model);
  for (const [i, nodes] of levels.entries()) {
    const axes = nodes.map((node) => {
      const value = node.inputs[0] as Value;
      const type = types.typeOf(value);
      const rank = isTensorType(type) ? type.shape?.length : undefined;
      const length = node.inputs[3]?.constant?.size ?? 0;
      const known = rank ?? node.fail('reads an activation of unknown rank; simplify the model first');
      return { name: value.name, axis: 1, rank: known, length };
    });
    const observed = await observeChannels(model, axes, ['sum', 'square'], options);
    for (const [k, node] of nodes.entries()) setMoments(node, observed[k] as Observed);
    onProgress(i + 1, levels.length);
  }
  const changed = levels.reduce((sum, nodes) => sum + nodes.length, 0);
  return { changed, notes: [`${changed} BatchNormalization layers were measured anew, in ${levels.length} passes.`] };
}

function setMoments(node: Node, { count, sums }: Observed): void {
  const mean = (sums.get('sum') as Float64Array).map((sum) => sum / count);
  const variance = (sums.get('square') as Float64Array).map((square, c) =>
    Math.max(0, square / count - (mean[c] as number) ** 2),
  );
  for (const [index, values] of [
    [3, mean],
    [4, variance],
  ] as const) {
    const dtype = node.inputs[index]?.constant?.dtype ?? 'float32';
    replaceConstant(
      node,
      index,
      storeWeights(dtype, [values.length], dtype === 'float64' ? values : Float32Array.from(values)),
    );
  }
}

/** The normalizations by how many others come before them. */
function levelsOf(model: Model): Node[][] {
  const depth = new Map<Value, number>();
  const levels: Node[][] = [];
  for (const node of model.graph.nodes()) {
    const before = Math.max(0, ...node.inputs.map((value) => (value && depth.get(value)) ?? 0));
    const isOne = node.is('BatchNormalization') && [3, 4].every((i) => isWeight(node.inputs[i]?.constant));
    if (isOne) levels[before] = [...(levels[before] ?? []), node];
    for (const output of node.outputs) if (output) depth.set(output, before + (isOne ? 1 : 0));
  }
  return levels.filter((nodes) => nodes);
}

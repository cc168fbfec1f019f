import { type Feeds, type Model, PareError, type TransformContext, throwIfAborted } from '@pare/core';
import { apportion, erkDensities } from './apportion.js';
import { cut, cutoff, cutRows } from './cutoff.js';
import { inputNorms } from './input-norms.js';
import { findLayers, type Layer, type LayerSelection } from './layers.js';
import { cutBlocks, type Pattern, parsePattern } from './pattern.js';
import { type Gradients, layerAdaptive, magnitude, type Scorer, taylor, wanda } from './score.js';

/** What `pruneWeights` and `sparsityMasks` take away. */
export interface SparsityOptions extends LayerSelection {
  /** Share of the weights of the chosen layers to remove, in [0, 1): exactly that many, rounded. This or `pattern`. */
  readonly sparsity?: number | undefined;
  /**
   * N:M sparsity, `2:4` for sparse tensor cores: of each M inputs of an output at one kernel position N remain. A layer whose
   * inputs (of one group) are no multiple of M stays dense.
   */
  readonly pattern?: `${number}:${number}` | undefined;
  /**
   * What a weight is worth. Default `magnitude`.
   *
   * - `magnitude`: |w|.
   * - `wanda`: |w| times the length of its input over `samples`, compared inside each output. Needs an engine; layers in
   *   subgraphs stay dense.
   * - `taylor`: |g w| with the `gradients` of the loss.
   */
  readonly score?: 'magnitude' | 'wanda' | 'taylor' | undefined;
  /**
   * How `sparsity` is spread over the layers.
   *
   * - `lamp`: one threshold for scores relative to those of their layer that are not lower: no layer loses all of its weights, and
   *   the scale of a layer does not count (Lee et al., "Layer-adaptive sparsity", 2021). Default for `magnitude` and `wanda`.
   * - `global`: one threshold for the scores as they are. Default for `taylor`, whose scores are all changes of one loss. With
   *   magnitudes it empties layers of small weights, such as those that a normalization was folded into.
   * - `erk`: by Erdős–Rényi-kernel, small and thin layers lose less. `uniform`: each layer loses the same share.
   */
  readonly distribution?: 'lamp' | 'global' | 'uniform' | 'erk' | undefined;
  /** Samples of what the model will see, for `wanda`. */
  readonly samples?: AsyncIterable<Feeds> | Iterable<Feeds> | undefined;
  /** Gradients for `taylor`: by name of the weight, in the order of its tensor, over a batch or a sum of batches. */
  readonly gradients?: Gradients | undefined;
}

/** How one layer is thinned out. */
export interface LayerMask {
  readonly layer: Layer;
  /** How many weights go. */
  readonly pruned: number;
  /** 1 for each weight that stays and 0 for each that goes, in the order of the tensor; computed anew each time. */
  mask(): Promise<Uint8Array>;
}

/** The layers of a model with their masks, and why others stay dense. */
export interface MaskPlan {
  readonly masks: readonly LayerMask[];
  readonly notes: readonly string[];
}

/**
 * The masks that `pruneWeights` would apply, by name of the initializer (or of the output of the Constant node): 1 for each weight
 * that stays and 0 for each that goes, in the order of the tensor. A training loop multiplies by them after each update. Weights
 * that are 0 already go first, so masks of growing sparsity contain each other as long as pruned weights are kept at 0.
 * @throws PareError as `pruneWeights`.
 */
export async function sparsityMasks(
  model: Model,
  options: SparsityOptions,
  context: TransformContext = {},
): Promise<Map<string, Uint8Array>> {
  const { masks } = await planMasks(model, options, context);
  const byName = new Map<string, Uint8Array>();
  for (const { layer, mask } of masks) byName.set(layer.name, await mask());
  return byName;
}

/** Decides what goes. Equal scores go in the order of layers and elements, so that the same call gives the same masks. */
export async function planMasks(model: Model, options: SparsityOptions, context: TransformContext): Promise<MaskPlan> {
  const pattern = options.pattern === undefined ? undefined : parsePattern(options.pattern);
  const { sparsity, distribution } = options;
  if ((sparsity === undefined) === (pattern === undefined)) {
    throw new PareError('bad-option', 'Say either how many weights go (sparsity) or in which pattern (such as "2:4").');
  }
  if (sparsity !== undefined && !(sparsity >= 0 && sparsity < 1)) {
    throw new PareError(
      'bad-option',
      `A sparsity is at least 0 and below 1: 0.8 removes 80 % of the weights. Not ${sparsity}.`,
    );
  }
  const isByRow = options.score === 'wanda';
  if (distribution && pattern) {
    throw new PareError(
      'bad-option',
      `The pattern ${options.pattern} leaves nothing to distribute: leave distribution out.`,
    );
  }
  if (distribution === 'global' && isByRow) {
    throw new PareError(
      'bad-option',
      'Scores of "wanda" compare inside an output only: distribute lamp, uniform or erk.',
    );
  }
  const found = findLayers(model, options);
  const { layers, notes, score } = await scoring(model, found.layers, [...found.notes], options, context);
  if (pattern) return patternMasks(layers, notes, score, pattern);
  const distribute = DISTRIBUTIONS[distribution ?? (options.score === 'taylor' ? 'global' : 'lamp')];
  const counts = await distribute(layers, score, sparsity as number, context);
  return { masks: layers.map((layer, i) => lowestMask(layer, score, counts[i] as number, isByRow)), notes };
}

interface Scoring {
  readonly layers: readonly Layer[];
  readonly notes: string[];
  readonly score: Scorer;
}

async function scoring(
  model: Model,
  layers: readonly Layer[],
  notes: string[],
  { score = 'magnitude', samples, gradients }: SparsityOptions,
  context: TransformContext,
): Promise<Scoring> {
  if (score === 'magnitude') return { layers, notes, score: magnitude };
  if (score === 'taylor') {
    if (gradients) return { layers, notes, score: taylor(gradients) };
    throw new PareError('bad-option', 'The score "taylor" needs the gradients of the loss: give gradients.');
  }
  if (!samples) throw new PareError('bad-option', 'The score "wanda" needs calibration samples: give samples.');
  const norms = await inputNorms(model, layers, samples, context);
  const unseen = layers.filter((layer) => !norms.has(layer));
  for (const { nodes } of unseen)
    notes.push(`${nodes[0].label} stays dense: its inputs, in a subgraph, are not measured.`);
  return { layers: layers.filter((layer) => norms.has(layer)), notes, score: wanda(norms) };
}

/** How many weights each layer loses. */
type Distribute = (
  layers: readonly Layer[],
  score: Scorer,
  sparsity: number,
  context: TransformContext,
) => number[] | Promise<number[]>;

const DISTRIBUTIONS: Readonly<Record<NonNullable<SparsityOptions['distribution']>, Distribute>> = {
  global: lowestOfAll,
  lamp: (layers, score, sparsity, context) => lowestOfAll(layers, layerAdaptive(score), sparsity, context),
  uniform: (layers, _, sparsity) => shares(layers, sparsity, () => 1 - sparsity),
  erk: (layers, _, sparsity) => {
    const densities = erkDensities(
      layers.map(({ tensor }) => tensor.dims),
      1 - sparsity,
    );
    return shares(layers, sparsity, (i) => densities[i] as number);
  },
};

/** As many as one threshold for all of them takes from each; of equal scores the first. */
async function lowestOfAll(
  layers: readonly Layer[],
  score: Scorer,
  sparsity: number,
  { signal }: TransformContext,
): Promise<number[]> {
  const all = async function* (): AsyncGenerator<Float32Array> {
    for (const layer of layers) {
      throwIfAborted(signal);
      yield await score(layer);
    }
  };
  const lowest = await cutoff(all, Math.round(sparsity * totalSize(layers)));
  const counts: number[] = [];
  let left = lowest.ties;
  for await (const scores of all()) {
    let [below, equal] = [0, 0];
    for (const s of scores) {
      if (s < lowest.score) below++;
      else if (s === lowest.score) equal++;
    }
    const ties = Math.min(left, equal);
    left -= ties;
    counts.push(below + ties);
  }
  return counts;
}

function shares(layers: readonly Layer[], sparsity: number, density: (layer: number) => number): number[] {
  return apportion(
    layers.map(({ tensor }, i) => tensor.size * (1 - density(i))),
    Math.round(sparsity * totalSize(layers)),
  );
}

const totalSize = (layers: readonly Layer[]): number => layers.reduce((sum, { tensor }) => sum + tensor.size, 0);

/** The lowest of the layer, or of each of its outputs, go. */
function lowestMask(layer: Layer, score: Scorer, pruned: number, isByRow: boolean): LayerMask {
  const mask = async (): Promise<Uint8Array> => {
    const scores = await score(layer);
    return isByRow
      ? cutRows(layer.view, scores, pruned)
      : cut(
          scores,
          await cutoff(async function* () {
            yield scores;
          }, pruned),
        );
  };
  return { layer, pruned, mask };
}

function patternMasks(all: readonly Layer[], notes: string[], score: Scorer, { kept, of }: Pattern): MaskPlan {
  const fits = ({ view }: Layer): boolean => view.inputs % of === 0;
  for (const { nodes, view } of all.filter((layer) => !fits(layer))) {
    notes.push(`${nodes[0].label} stays dense: its ${view.inputs} inputs are no multiple of ${of}.`);
  }
  const masks = all.filter(fits).map((layer) => ({
    layer,
    pruned: (layer.tensor.size / of) * (of - kept),
    mask: async () => cutBlocks(layer.view, await score(layer), { kept, of }),
  }));
  return { masks, notes };
}

import { type Feeds, type Model, PareError, type TransformContext, throwIfAborted } from '@pare/core';
import { apportion, erkDensities } from './apportion.js';
import { cut, cutoff, cutRows } from './cutoff.js';
import { inputNorms } from './input-norms.js';
import { findLayers, type Layer, type LayerSelection } from './layers.js';
import { cutBlocks, type Pattern, parsePattern } from './pattern.js';
import { type Gradients, magnitude, type Scorer, taylor, wanda } from './score.js';

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
   * Where `sparsity` holds: in the whole model (`global`; layers of small weights lose more), in each layer (`uniform`), or in
   * each layer by Erdős–Rényi-kernel (`erk`: small and thin layers lose less). Default `global`, for `wanda` `uniform`: its scores
   * of different layers do not compare.
   */
  readonly distribution?: 'global' | 'uniform' | 'erk' | undefined;
  /** Calibration samples for `wanda`. */
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
    throw new PareError('bad-option', 'Scores of "wanda" compare inside an output only: distribute uniform or erk.');
  }
  const found = findLayers(model, options);
  const { layers, notes, score } = await scoring(model, found.layers, [...found.notes], options, context);
  if (pattern) return patternMasks(layers, notes, score, pattern);
  if (isByRow || distribution === 'uniform' || distribution === 'erk') {
    return { masks: layerMasks(layers, score, sparsity as number, distribution === 'erk', isByRow), notes };
  }
  return { masks: await globalMasks(layers, score, sparsity as number, context), notes };
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

// ---- one threshold for all ----

async function globalMasks(
  layers: readonly Layer[],
  score: Scorer,
  sparsity: number,
  { signal }: TransformContext,
): Promise<LayerMask[]> {
  const all = async function* (): AsyncGenerator<Float32Array> {
    for (const layer of layers) {
      throwIfAborted(signal);
      yield await score(layer);
    }
  };
  const count = Math.round(sparsity * totalSize(layers));
  const { score: bound, ties } = await cutoff(all, count);
  const masks: LayerMask[] = [];
  let left = ties;
  for (const layer of layers) {
    const scores = await score(layer);
    let below = 0;
    let equal = 0;
    for (const s of scores) {
      if (s < bound) below++;
      else if (s === bound) equal++;
    }
    const own = Math.min(left, equal);
    left -= own;
    masks.push({
      layer,
      pruned: below + own,
      mask: async () => cut(await score(layer), { score: bound, ties: own }),
    });
  }
  return masks;
}

// ---- a share for each layer ----

function layerMasks(
  layers: readonly Layer[],
  score: Scorer,
  sparsity: number,
  isErk: boolean,
  isByRow: boolean,
): LayerMask[] {
  const densities = isErk
    ? erkDensities(
        layers.map(({ tensor }) => tensor.dims),
        1 - sparsity,
      )
    : layers.map(() => 1 - sparsity);
  const shares = layers.map(({ tensor }, i) => tensor.size * (1 - (densities[i] as number)));
  const counts = apportion(shares, Math.round(sparsity * totalSize(layers)));
  return layers.map((layer, i) => {
    const pruned = counts[i] as number;
    const mask = async (): Promise<Uint8Array> => {
      const scores = await score(layer);
      if (isByRow) return cutRows(layer.view, scores, pruned);
      return cut(
        scores,
        await cutoff(async function* () {
          yield scores;
        }, pruned),
      );
    };
    return { layer, pruned, mask };
  });
}

const totalSize = (layers: readonly Layer[]): number => layers.reduce((sum, { tensor }) => sum + tensor.size, 0);

// ---- N of each M ----

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

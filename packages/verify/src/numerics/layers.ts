import { type Engine, type Feeds, type Model, type Node, staticShape, throwIfAborted, type Value } from '@pare/core';
import type { LayerNumerics, LayersNumerics } from '../evidence.js';
import { ErrorSums } from './errors.js';

export interface CompareLayersOptions {
  /** Outputs of the layers of one pass together stay below this. Default 64 MiB. */
  readonly budgetBytes?: number;
  /** Optimisation of the variant's session. Default `all`: integer kernels as in production. */
  readonly optimization?: 'disabled' | 'all';
  readonly threads?: number;
  /** Runtime config of the variant. */
  readonly config?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A tensor of the original and its twin in the variant. */
interface Pair {
  readonly original: string;
  readonly variant: string;
  readonly node: Node;
  readonly index: number;
  readonly bytes: number;
}

/** Operators that move, index or describe data: their error is that of what they read. */
const MOVERS: ReadonlySet<string> = new Set(
  (
    'Identity Constant ConstantOfShape Shape Size Cast CastLike Reshape Flatten Transpose Squeeze Unsqueeze Slice Split Concat ' +
    'Gather GatherElements GatherND Expand Tile Pad Dropout Range NonZero Where Equal Less Greater LessOrEqual GreaterOrEqual ' +
    'Not And Or Xor QuantizeLinear DequantizeLinear DynamicQuantizeLinear SpaceToDepth DepthToSpace SequenceAt If Loop Scan'
  ).split(' '),
);

/** Size of a tensor whose shape nobody told. */
const UNKNOWN_BYTES = 2 << 20;
const MAX_PAIRS_A_PASS = 64;

/**
 * How large the error is after each layer: both models run on `feeds` with their inner tensors as outputs, matched by name.
 * Where the variant quantizes a tensor, its twin is the dequantized one, which is what the next layer sees. Runs in passes
 * over groups of layers, and keeps sums only.
 * @throws PareError `engine`; `aborted`.
 */
export async function compareLayers(
  engine: Engine,
  original: Model,
  variant: Model,
  feeds: readonly { readonly original: Feeds; readonly variant: Feeds }[],
  options: CompareLayersOptions = {},
): Promise<LayersNumerics> {
  const { pairs, unmatched } = matchLayers(original, variant);
  const ranked: LayerNumerics[] = [];
  for (const group of groups(pairs, options.budgetBytes ?? 64 << 20)) {
    throwIfAborted(options.signal);
    const sums = group.map(() => new ErrorSums());
    const common = { threads: options.threads ?? 1, ...(options.signal ? { signal: options.signal } : {}) };
    const a = await engine.open(
      expose(
        original,
        group.map((p) => p.original),
      ),
      common,
    );
    try {
      const b = await engine.open(
        expose(
          variant,
          group.map((p) => p.variant),
        ),
        { ...common, optimization: options.optimization ?? 'all', config: options.config ?? {} },
      );
      try {
        for (const feed of feeds) {
          const x = await a.run(feed.original, unique(group.map((p) => p.original)));
          const y = await b.run(feed.variant, unique(group.map((p) => p.variant)));
          for (const [i, pair] of group.entries()) {
            const [u, v] = [x[pair.original], y[pair.variant]];
            if (u && v && u.data.length === v.data.length) sums[i]?.add(u, v);
          }
        }
      } finally {
        await b.close();
      }
    } finally {
      await a.close();
    }
    for (const [i, { original: tensor, node, index }] of group.entries()) {
      const sum = sums[i] as ErrorSums;
      if (sum.elements > 0) ranked.push({ ...sum.summary(), tensor, node: node.name, opType: node.opType, index });
    }
    options.onProgress?.(ranked.length, pairs.length);
  }
  // Not finite where the original is finite is the worst of all.
  const badness = (l: LayerNumerics): number =>
    l.nonFiniteVariant > l.nonFiniteOriginal ? Number.POSITIVE_INFINITY : (l.relativeRmse ?? 0);
  ranked.sort((x, y) => badness(y) - badness(x) || x.index - y.index);
  const note =
    pairs.length === 0
      ? 'No inner tensor has the same name in both models: the errors of the layers are unknown.'
      : null;
  return { samples: feeds.length, ranked, unmatched, note };
}

/** Float tensors of the main graph that some layer computes, with their twins. */
function matchLayers(original: Model, variant: Model): { pairs: Pair[]; unmatched: number } {
  const pairs: Pair[] = [];
  let unmatched = 0;
  let index = -1;
  for (const node of original.graph.nodes()) {
    index++;
    if (MOVERS.has(node.opType)) continue;
    const value = node.outputs[0];
    if (!value || (value.dtype !== undefined && !value.dtype.includes('float'))) continue;
    const twin = twinOf(value, variant);
    if (!twin) {
      unmatched++;
      continue;
    }
    const shape = value.shape?.map((d, axis) => (axis === 0 && typeof d !== 'number' ? 1 : d));
    const dims = staticShape(shape);
    const bytes = dims ? 4 * dims.reduce((a, b) => a * b, 1) : UNKNOWN_BYTES;
    pairs.push({ original: value.name, variant: twin.name, node, index, bytes });
  }
  return { pairs, unmatched };
}

/** Operators that simplifiers fold into the one before. */
const FOLDED: ReadonlySet<string> = new Set(['BatchNormalization', 'Mul', 'Div', 'Add', 'Sub', 'Identity']);

function twinOf(value: Value, variant: Model): Value | undefined {
  const twin = variant.graph.value(value.name);
  if (!twin?.producer) return undefined;
  // When the next operator was folded into this one, the same name may stand for its result.
  const next = value.consumers.filter((n) => FOLDED.has(n.opType)).flatMap((n) => n.outputs);
  if (next.some((v) => v && !v.isGraphOutput && !variant.graph.value(v.name))) return undefined;
  if (twin.dtype !== undefined && !twin.dtype.includes('float')) return undefined;
  const quantize = twin.consumers.find((n) => n.opType === 'QuantizeLinear' && n.inputs[0] === twin);
  const dequantize = quantize?.output.consumers.find((n) => n.opType === 'DequantizeLinear');
  return dequantize?.graph === variant.graph ? dequantize.output : twin;
}

function* groups(pairs: readonly Pair[], budget: number): Generator<Pair[]> {
  let group: Pair[] = [];
  let bytes = 0;
  for (const pair of pairs) {
    if (group.length > 0 && (bytes + pair.bytes > budget || group.length === MAX_PAIRS_A_PASS)) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(pair);
    bytes += pair.bytes;
  }
  if (group.length > 0) yield group;
}

/** A copy of `model` with the values `names` as outputs, too. */
function expose(model: Model, names: readonly string[]): Model {
  const copy = model.clone();
  for (const name of unique(names)) {
    const value = copy.graph.value(name);
    if (value && !value.isGraphOutput) copy.graph.addOutput(value);
  }
  return copy;
}

const unique = (names: readonly string[]): string[] => [...new Set(names)];

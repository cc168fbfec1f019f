import { type DType, elementCount, type Graph, type Model, type Node, type Tensor, type Value } from '@pare/core';
import { type BlockSpec, blocksPerRun, kernels, packZeroPoints } from '../../kernels/index.js';
import { type ConstantSource, constantSource, removeDeadConstant } from '../constant-source.js';
import { channelExtremes, channelLayout, quantizeWeight, weightParameters } from '../weights.js';
import { lazyParts, openWeight, type Parts, refuseNonFinite, scaleBytes, type WeightType } from './lazy-parts.js';

/** How weights are written down. */
export interface WeightFormat {
  readonly bits: 2 | 4 | 8;
  /** Elements that share a scale; undefined: a whole output channel. */
  readonly blockSize: number | undefined;
  readonly symmetric: boolean;
  /** MatMulNBits only: 0 or undefined computes in the type of the activations, 4 in int8. */
  readonly accuracyLevel: number | undefined;
  /** Made real with operators that runtimes fold on loading. */
  readonly folded: boolean;
}

/** Rewrites one node; returns why not when it leaves it alone. Rules decide before they change anything. */
export type Rule = (node: Node, scope: Scope) => string | undefined;

/** A constant weight of a type that can be quantized. */
export interface FloatWeight extends ConstantSource {
  readonly dtype: WeightType;
}

/** A quantized weight as initializers: real value = scale * (values - zero point). */
export type StoredWeight = Parts<Value>;

/** Smaller weights are not worth another node. */
const MIN_ELEMENTS = 1024;

/** The constant weight behind `value`, or why there is none that can be quantized. */
export function weightOf(value: Value | null | undefined): FloatWeight | string {
  const source = constantSource(value);
  if (!source) return 'its weight is not constant';
  const { dtype, size } = source.tensor;
  if (dtype !== 'float32' && dtype !== 'float16') return `its weight is ${dtype}`;
  return size < MIN_ELEMENTS ? `its weight has ${size} elements only` : { ...source, dtype };
}

/** What the rules share during one pass over a model: each weight is quantized once for all who read it in the same way. */
export class Scope {
  readonly #made = new Map<Graph, Map<Tensor, Map<string, unknown>>>();

  constructor(
    readonly model: Model,
    readonly format: WeightFormat,
  ) {}

  /** What `make` made of `source` under `key`, the first time. */
  once<T>(source: ConstantSource, key: string, make: () => T): T {
    const { graph } = source.root;
    const ofGraph = this.#made.get(graph) ?? new Map<Tensor, Map<string, unknown>>();
    this.#made.set(graph, ofGraph);
    const ofTensor = ofGraph.get(source.tensor) ?? new Map<string, unknown>();
    ofGraph.set(source.tensor, ofTensor);
    if (!ofTensor.has(key)) ofTensor.set(key, make());
    return ofTensor.get(key) as T;
  }

  /** Whether something was made of `source` under `key`. */
  has(source: ConstantSource, key: string): boolean {
    return this.#made.get(source.root.graph)?.get(source.tensor)?.has(key) ?? false;
  }
}

/** Gives `node` no inputs, removes it, and removes the constants that nothing reads any more. */
export function removeNode(node: Node): void {
  const inputs = new Set(node.inputs);
  node.setInputs([]);
  node.graph?.remove(node);
  for (const input of inputs) if (constantSource(input)) removeDeadConstant(input);
}

/** Shapes of the initializers of a blockwise weight. */
export interface BlockShapes {
  readonly dtype: 'uint8' | 'int4' | 'uint4';
  readonly values: readonly number[];
  readonly scales: readonly number[];
  readonly zeroPoints: readonly number[];
}

/** Stores a matrix in blocks along `axis` of the tensor as it is stored (0 or 1; leading axes of 1 do not count). */
export function storeBlocks(
  weight: FloatWeight,
  format: WeightFormat & { readonly blockSize: number },
  axis: 0 | 1,
  layout: BlockSpec['layout'],
  shapes: BlockShapes,
): StoredWeight {
  const { root, tensor, dtype } = weight;
  const { bits, blockSize, symmetric } = format;
  const [rows, cols] = tensor.dims.slice(-2) as [number, number];
  const spec: BlockSpec = {
    rows,
    cols,
    axis,
    bits,
    size: blockSize,
    symmetric,
    layout,
    signed: shapes.dtype === 'int4',
  };
  const types = {
    values: { dtype: shapes.dtype, dims: shapes.values },
    scales: { dtype, dims: shapes.scales },
    zeroPoints: symmetric ? null : { dtype: shapes.dtype, dims: shapes.zeroPoints },
  };
  // In com.microsoft each run of zero points starts at a byte; a 4-bit tensor is packed as a whole.
  const perRun = shapes.dtype === 'uint8' ? blocksPerRun(spec) : undefined;
  const name = root.name;
  const parts = lazyParts(types, async () => {
    const { packed, scales, zeroPoints, signal } = kernels().quantizeBlocks(await openWeight(tensor), spec);
    if (Number.isNaN(signal)) await refuseNonFinite(tensor, name);
    return {
      values: packed,
      scales: scaleBytes(scales, dtype),
      zeroPoints: packZeroPoints(zeroPoints, bits, perRun),
    };
  });
  return addParts(root, `Q${bits}`, parts);
}

/** Stores a weight in 8 bits with one scale for each index of `axis`: int8, or uint8 with zero points. */
export function storeChannels(weight: FloatWeight, format: WeightFormat, axis: number): StoredWeight {
  const { root, tensor, dtype } = weight;
  const { symmetric } = format;
  const integers: DType = symmetric ? 'int8' : 'uint8';
  const layout = channelLayout(tensor.dims, axis);
  const types = {
    values: { dtype: integers, dims: tensor.dims },
    scales: { dtype, dims: [layout.channels] },
    zeroPoints: symmetric ? null : { dtype: integers, dims: [layout.channels] },
  } as const;
  const target = symmetric ? { qmin: -127, qmax: 127, symmetric } : { qmin: 0, qmax: 255, symmetric };
  const name = root.name;
  const parts = lazyParts(types, async () => {
    const values = await openWeight(tensor);
    const extremes = channelExtremes(kernels(), values, layout);
    if (extremes.nan + extremes.inf > 0) await refuseNonFinite(tensor, name);
    const spec = weightParameters(kernels(), values, layout, target, { extremes });
    return {
      values: quantizeWeight(kernels(), values, layout, spec),
      scales: scaleBytes(spec.scale, dtype),
      zeroPoints: Uint8Array.from(spec.zeroPoint),
    };
  });
  return addParts(root, 'Q8', parts);
}

function addParts(root: Value, word: string, parts: Parts<Tensor>): StoredWeight {
  const { graph, name } = root;
  const values = graph.addInitializer(`${name}_${word}`, parts.values);
  const scales = graph.addInitializer(`${name}_scales`, parts.scales);
  const zeroPoints = parts.zeroPoints ? graph.addInitializer(`${name}_zero_points`, parts.zeroPoints) : null;
  return { values, scales, zeroPoints };
}

/** Elements of a tensor without its last two axes: 1 for a matrix. */
export function stackSize(dims: readonly number[]): number {
  return elementCount(dims.slice(0, -2));
}

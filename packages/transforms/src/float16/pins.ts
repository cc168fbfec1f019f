import type { Graph, Node, Value, ValueType } from '@pare/core';
import { type ConstantFacts, type FactsCache, FLOAT16_MAX, type HalfType } from './constants.js';
import { integerArithmetic } from './integers.js';
import type { TensorRange } from './measure.js';
import type { OperatorRow } from './operators.js';
import { isFloat32 } from './placement.js';

export interface PinTask {
  readonly graph: Graph;
  readonly to: HalfType;
  readonly typeOf: (value: Value) => ValueType | undefined;
  readonly rowOf: (node: Node) => OperatorRow | undefined;
  readonly selected: (node: Node) => boolean;
  /** What values reach, where it is known; undefined when nothing was measured. */
  readonly ranges: ReadonlyMap<string, TensorRange> | undefined;
  /** Values of masks: their lower bound means nothing. */
  readonly masks: ReadonlySet<Value>;
  readonly facts: FactsCache;
}

/** What must stay float32. */
export interface Pins {
  /** Nodes, with the reason. */
  readonly nodes: ReadonlyMap<Node, string>;
  /** Values that overflow. */
  readonly wide: ReadonlySet<Value>;
}

/** Ranges come from some samples; other inputs may reach further. */
const HEADROOM = 2;
const LIMIT = FLOAT16_MAX / HEADROOM;

/** Finds every node that loses its meaning in 16 bits, and says why. */
export async function findPins(task: PinTask): Promise<Pins> {
  const nodes = new Map<Node, string>();
  const indices = integerArithmetic(task.graph, task.typeOf);
  const overflow = task.to === 'float16' ? new Overflow(task) : undefined;
  for (const node of task.graph.allNodes()) {
    const row = task.rowOf(node);
    const reason =
      row &&
      ((task.selected(node) ? undefined : 'it is excluded') ??
        unknownReason(node, task) ??
        (indices.has(node) ? 'it computes positions or lengths' : undefined) ??
        quantizedReason(node));
    const beyond = row && overflow && (await constantReason(node, row, task));
    const grows = overflow?.visit(node, beyond !== undefined);
    const why = reason ?? beyond ?? (row && grows);
    if (why) nodes.set(node, why);
  }
  return { nodes, wide: overflow?.wide() ?? new Set() };
}

function unknownReason(node: Node, { typeOf }: PinTask): string | undefined {
  const unknown = [...node.inputs, ...node.outputs].find((value) => {
    const type = value ? typeOf(value) : undefined;
    return value && (!type || (type.kind === 'tensor' && !type.dtype));
  });
  return unknown ? `the type of "${unknown.name}" is not known` : undefined;
}

// ---- quantized parts ----

const INTEGER_PRODUCTS: ReadonlySet<string> = new Set(['MatMulInteger', 'ConvInteger']);
const isQuantize = (node: Node): boolean => node.opType === 'QuantizeLinear' || node.opType === 'DynamicQuantizeLinear';
/** DequantizeLinear of an activation, not of a weight. */
const dequantizesActivation = (node: Node | undefined): boolean =>
  node?.opType === 'DequantizeLinear' && !node.inputs[0]?.constant;

/** Between integers: the runtime fuses it with its neighbours, in float32 only. */
function quantizedReason(node: Node): string | undefined {
  const [x, w] = node.inputs;
  const dequantized = w?.producer?.opType === 'DequantizeLinear' || w?.constant?.size === 1;
  const inIntegers =
    dequantizesActivation(node) ||
    ([x, w].some((v) => dequantizesActivation(v?.producer)) && dequantized) ||
    node.outputs.some((v) => v?.consumers.some(isQuantize));
  if (inIntegers) return 'it is part of a quantized region';
  const sums = (n: Node | undefined): boolean =>
    !!n?.is('Cast') && INTEGER_PRODUCTS.has(n.inputs[0]?.producer?.opType ?? '');
  return sums(node) || node.inputs.some((v) => sums(v?.producer)) ? 'it scales integer sums' : undefined;
}

// ---- constants ----

/** Operators for which a number beyond float16 may as well be 65504. */
const BOUNDS: ReadonlySet<string> = new Set(
  'Clip Min Max Where Add Sub Pad Concat Expand Equal Less LessOrEqual Greater GreaterOrEqual ConstantOfShape Gather'.split(
    ' ',
  ),
);
/** Scales of quantized weights below this have too few bits left in float16. */
const SMALLEST_SCALE = 2 ** -17;

async function constantReason(node: Node, row: OperatorRow, task: PinTask): Promise<string | undefined> {
  for (const [index, value] of node.inputs.entries()) {
    const tensor = value?.constant;
    if (!value || tensor?.dtype !== 'float32' || row.keep?.includes(index)) continue;
    const facts = await task.facts.of(tensor);
    if (!fits(facts, BOUNDS.has(node.opType))) {
      return `its constant "${value.name}" reaches ${extreme(facts)}, beyond float16`;
    }
    if (facts.flushed > 0 && tensor.size === 1) {
      return `its constant "${value.name}" (${tensor.scalar() ?? 'tiny'}) would be 0 in float16`;
    }
    if (isScaleOf(node, index) && (await smallest(value)) < SMALLEST_SCALE) {
      return `its scales reach below ${SMALLEST_SCALE.toExponential(1)}, where float16 has few bits`;
    }
  }
  const own = row.tensor && node.tensor(row.tensor);
  if (own?.dtype === 'float32' && !fits(await task.facts.of(own), true)) return 'its value is beyond float16';
  return undefined;
}

const fits = (facts: ConstantFacts, isBound: boolean): boolean => facts.beyond === 0 || (isBound && facts.standIns);
const extreme = ({ lowest, highest }: ConstantFacts): string =>
  (-lowest > highest ? lowest : highest).toPrecision(3).replace(/\.?0+(?=e|$)/u, '');

function isScaleOf(node: Node, index: number): boolean {
  return (
    index ===
    (node.opType === 'DequantizeLinear' ? 1 : /^(MatMulNBits|GatherBlockQuantized)$/u.test(node.opType) ? 2 : -1)
  );
}

async function smallest(value: Value): Promise<number> {
  const values = (await value.constant?.toArray()) as Float32Array;
  return values.reduce((least, v) => (v !== 0 ? Math.min(least, Math.abs(v)) : least), Number.POSITIVE_INFINITY);
}

// ---- ranges ----

/** What an operator sums up inside, as a function of its largest input and of how many elements it joins. */
const INNER: Readonly<Record<string, (peak: number, count: number) => number>> = {
  ReduceSum: (peak, count) => peak * count,
  ReduceMean: (peak, count) => peak * count,
  ReduceL1: (peak, count) => peak * count,
  GlobalAveragePool: (peak, count) => peak * count,
  ReduceL2: (peak, count) => peak * peak * count,
  ReduceSumSquare: (peak, count) => peak * peak * count,
  LpNormalization: (peak, count) => peak * peak * count,
  InstanceNormalization: (peak) => peak * peak,
  MeanVarianceNormalization: (peak) => peak * peak,
  ReduceLogSumExp: (peak) => Math.exp(peak),
};

/** Operators whose results leave float16 quickly: without measurements they are taken to do so. */
const GROWING: ReadonlySet<string> = new Set(
  'Pow Exp ReduceSumSquare ReduceL2 ReduceLogSumExp ReduceProd LpNormalization'.split(' '),
);

/** Operators that hand on a large number: nothing but a root, a quotient or a bounded function makes it small again. */
const HANDS_ON: ReadonlySet<string> = new Set(
  'Add Sub Sum Mean Neg Abs Max ReduceMean ReduceSum ReduceMax ReduceL1 GlobalAveragePool AveragePool MaxPool GlobalMaxPool Identity Reshape Squeeze Unsqueeze Flatten Transpose Concat Slice Split Expand Tile Gather'.split(
    ' ',
  ),
);

/** Which values may overflow: by what was measured, and where nothing was, by what operators do to numbers. */
class Overflow {
  readonly #wide = new Set<Value>();

  constructor(private readonly task: PinTask) {}

  /** Nodes in graph order. Returns why `node` must stay high, for sums inside it or squares that nobody measured. */
  visit(node: Node, constantBeyond: boolean): string | undefined {
    const peak = this.#magnitude(node.inputs[0]);
    const inner = peak === undefined ? 0 : (INNER[node.opType]?.(peak, joined(node, this.task)) ?? 0);
    const squares = node.is('Mul') && node.inputs[0] === node.inputs[1] && !node.inputs[0]?.constant;
    const grows = squares || GROWING.has(node.opType);
    const handsOn = HANDS_ON.has(node.opType) && node.inputs.some((v) => v && this.#wide.has(v));
    let suspected = false;
    for (const output of node.outputs) {
      if (!output || !isFloat32(this.task.typeOf(output))) continue;
      const reach = this.#magnitude(output);
      if (reach === undefined ? constantBeyond || grows || handsOn : reach > LIMIT) this.#wide.add(output);
      suspected ||= reach === undefined && grows;
    }
    if (inner > LIMIT) return 'its sum may overflow';
    return suspected ? 'it may overflow and was not measured' : undefined;
  }

  /** The values that were found, and inputs of the model that reach too far. */
  wide(): ReadonlySet<Value> {
    for (const graph of this.task.graph.graphs()) {
      for (const input of graph.inputs) {
        if (isFloat32(this.task.typeOf(input)) && (this.#magnitude(input) ?? 0) > LIMIT) this.#wide.add(input);
      }
    }
    return this.#wide;
  }

  /** Largest magnitude that counts; undefined when nothing was measured. Infinities are as good in float16. */
  #magnitude(value: Value | null | undefined): number | undefined {
    const range = value && this.task.ranges?.get(value.name);
    if (!range) return undefined;
    const low = this.task.masks.has(value) || !Number.isFinite(range.min) ? 0 : -range.min;
    return Math.max(low, Number.isFinite(range.max) ? range.max : 0, 0);
  }
}

/** How many elements one element of the output comes from; dimensions that are not known count as 1. */
function joined(node: Node, { typeOf }: PinTask): number {
  const size = (value: Value | null | undefined): number => {
    const type = value ? typeOf(value) : undefined;
    const shape = type?.kind === 'tensor' ? (type.shape ?? []) : [];
    return shape.reduce<number>((product, d) => product * (typeof d === 'number' ? d : 1), 1);
  };
  return Math.max(1, size(node.inputs[0]) / Math.max(1, size(node.outputs[0])));
}

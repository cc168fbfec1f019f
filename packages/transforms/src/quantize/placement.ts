import { elementCount, type Graph, type Model, type Node, type Value } from '@pare/core';
import { type ConstantSource, constantSource } from './constant-source.js';
import { type NodeSelection, nodeSelector } from './select.js';

/** What decides which nodes compute in integers. */
export interface PlacementOptions extends NodeSelection {
  /** MatMuls of two activations (attention scores) too. Default false: they cost accuracy and save little time. */
  readonly activationMatMul?: boolean | undefined;
  /** Take BatchNormalization after a Conv or Gemm as a part of it, because it will be folded before the model runs. Default false. */
  readonly foldsBatchNorm?: boolean | undefined;
}

/** A node that computes in integers. */
export interface PlacedNode {
  readonly node: Node;
  readonly rule: Rule;
  /** Indices of the inputs that are quantized activations. */
  readonly inputs: readonly number[];
  /** The constant weight, for Conv, Gemm and MatMul with one. */
  readonly weight?: ConstantSource | undefined;
  /** The BatchNormalization that alone reads the output, with `foldsBatchNorm`. */
  readonly batchNorm?: Node | undefined;
  /** The Relu or Clip that alone reads the output: its bounds become those of the quantized range. */
  readonly tail?: Node | undefined;
  /** What comes out, after the normalization and the tail. */
  readonly output: Value;
}

/** Where a model computes in integers, and which of its activations are quantized. */
export interface Placement {
  /** In graph order. */
  readonly nodes: readonly PlacedNode[];
  /** Every quantized activation with the one whose range decides its scale: itself, or another that it shares with. */
  readonly activations: ReadonlyMap<Value, Value>;
  /** Those of them that exist as integers only: everyone who reads them gets rounded values. */
  readonly integerOnly: ReadonlySet<Value>;
  /** Why nodes that could compute in integers do not: a sentence each. */
  readonly refusals: readonly string[];
}

/**
 * How an operator takes part.
 *
 * - `compute`: has the multiplications; its activations are always quantized.
 * - `map`: gets a scale of its own; pays only between quantized neighbours, where it saves the way to float and back.
 * - `carry`: moves or picks elements, so that its output has the scale of its input and costs no accuracy.
 */
type Kind = 'compute' | 'map' | 'carry';

interface Rule {
  readonly kind: Kind;
  /** Activation inputs: the first, or all of a variadic operator. Default first. */
  readonly inputs?: 'all';
  /** `compute`: the integer kernel gives integers only (Conv); others can give float sums, which are not rounded again. */
  readonly integerOnly?: boolean;
  /** `map`: one integer input is enough; float ones are quantized for it (no rounding is added that the others have not). */
  readonly mixes?: boolean;
  /** Why this node cannot, or undefined when it can. */
  readonly refuse?: (node: Node, options: PlacementOptions) => string | undefined;
}

/** The operators for which ONNX Runtime's CPU provider has 8-bit kernels behind QuantizeLinear and DequantizeLinear. */
const RULES: Readonly<Record<string, Rule>> = {
  Conv: { kind: 'compute', integerOnly: true, refuse: refuseConv },
  Gemm: { kind: 'compute', refuse: refuseGemm },
  MatMul: { kind: 'compute', inputs: 'all', refuse: refuseMatMul },
  Add: { kind: 'map', inputs: 'all', refuse: refuseConstantOperand },
  Mul: { kind: 'map', inputs: 'all', mixes: true, refuse: refuseConstantOperand },
  Concat: { kind: 'map', inputs: 'all', mixes: true, refuse: refuseConstantOperand },
  GlobalAveragePool: { kind: 'map' },
  AveragePool: { kind: 'map' },
  Sigmoid: { kind: 'map' },
  LeakyRelu: { kind: 'map' },
  MaxPool: { kind: 'carry', refuse: (node) => (node.outputs[1] ? 'its indices are used' : undefined) },
  Reshape: { kind: 'carry' },
  Flatten: { kind: 'carry' },
  Squeeze: { kind: 'carry' },
  Unsqueeze: { kind: 'carry' },
  Transpose: { kind: 'carry' },
  Slice: { kind: 'carry' },
  Gather: { kind: 'carry' },
  Split: { kind: 'carry' },
  Expand: { kind: 'carry' },
  Tile: { kind: 'carry' },
  DepthToSpace: { kind: 'carry' },
  Resize: {
    kind: 'carry',
    refuse: (node) => (node.string('mode', 'nearest') === 'nearest' ? undefined : 'it interpolates'),
  },
};

/** Operators with weights for which there is none. */
const WITHOUT_KERNEL: ReadonlySet<string> = new Set(['ConvTranspose', 'LSTM', 'GRU', 'RNN', 'Einsum', 'Attention']);

/**
 * Decides which nodes of the main graph compute in integers: every Conv, Gemm and MatMul that `selection` leaves in, and what
 * lies between them where that costs nothing. Changes nothing. Nodes inside subgraphs stay in float, because their
 * activations cannot be observed from outside.
 */
export function place(model: Model, options: PlacementOptions = {}): Placement {
  const candidates = findCandidates(model.graph, options);
  settle(model.graph, candidates.nodes);
  const activations = new Map<Value, Value>();
  const integerOnly = integerValues(model.graph, candidates.nodes);
  const nodes = [...model.graph.nodes()].flatMap((node) => candidates.nodes.get(node) ?? []);
  const read = (value: Value): void => {
    if (!activations.has(value)) activations.set(value, value);
  };
  for (const { node, rule, inputs, output } of nodes) {
    for (const i of inputs) read(node.inputs[i] as Value);
    if (rule.kind === 'carry') {
      const source = node.inputs[0] as Value;
      for (const out of node.outputs) if (out) activations.set(out, activations.get(source) ?? source);
    } else if (integerOnly.has(output)) read(output);
  }
  shareAcrossConcat(nodes, activations);
  return { nodes, activations, integerOnly, refusals: candidates.refusals };
}

type Candidates = Map<Node, PlacedNode>;

function findCandidates(graph: Graph, options: PlacementOptions): { nodes: Candidates; refusals: string[] } {
  const selected = nodeSelector(options);
  const kept = nodeSelector({ exclude: options.exclude });
  const nodes: Candidates = new Map();
  const refusals: string[] = [];
  for (const node of graph.nodes()) {
    const rule = node.domain === '' ? RULES[node.opType] : undefined;
    if (WITHOUT_KERNEL.has(node.opType) && node.domain === '' && selected(node)) {
      refusals.push(`${node.label} stays in float: ONNX Runtime has no kernel for it with fixed integer scales.`);
    }
    if (!rule || !(rule.kind === 'carry' ? kept(node) : selected(node))) continue;
    const refusal = rule.refuse?.(node, options);
    if (refusal) {
      if (rule.kind === 'compute') refusals.push(`${node.label} stays in float: ${refusal}.`);
      continue;
    }
    const weight = rule.kind === 'compute' ? constantSource(node.inputs[1]) : undefined;
    const count = rule.inputs === 'all' && !weight ? node.inputs.length : 1;
    const batchNorm = options.foldsBatchNorm ? followingBatchNorm(node) : undefined;
    const result = batchNorm?.output ?? node.output;
    const tail = rule.kind === 'carry' ? undefined : foldable(result);
    const inputs = Array.from({ length: count }, (_, i) => i).filter((i) => !constantSource(node.inputs[i]));
    nodes.set(node, { node, rule, weight, batchNorm, tail, inputs, output: tail?.output ?? result });
  }
  for (const sub of graph.graphs()) {
    if (sub === graph) continue;
    const inner = [...sub.nodes()].filter((node) => RULES[node.opType]?.kind === 'compute' && node.domain === '');
    for (const node of inner) {
      refusals.push(`${node.label} stays in float: it is inside a subgraph, whose activations cannot be observed.`);
    }
  }
  return { nodes, refusals };
}

/** The BatchNormalization of constants (for inference) that alone reads the output of a Conv or Gemm, and can go into its weight. */
export function followingBatchNorm(node: Node): Node | undefined {
  const next = node.is('Conv') || node.is('Gemm') ? soleReader(node.output) : undefined;
  if (!next?.is('BatchNormalization') || next.inputs[0] !== node.output) return undefined;
  const isConstant = next.inputs.slice(1).every((v) => v?.constant);
  return isConstant && next.int('training_mode', 0) === 0 && next.outputs.length === 1 ? next : undefined;
}

/** The node that alone reads `value`, in the same graph. */
function soleReader(value: Value): Node | undefined {
  if (value.isGraphOutput || value.uses.size !== 1) return undefined;
  const [next] = value.consumers;
  return next?.graph === value.graph ? next : undefined;
}

/** The Relu or Clip (of constant bounds around zero) that alone reads `value`. */
function foldable(value: Value): Node | undefined {
  const next = soleReader(value);
  if (next?.domain !== '') return undefined;
  if (next.is('Relu')) return next;
  if (!next.is('Clip') || next.inputs[0] !== value) return undefined;
  const { low, high } = clipBounds(next) ?? {};
  return low !== undefined && high !== undefined && low <= 0 && high >= 0 ? next : undefined;
}

/** The bounds of a Relu or Clip when they are constants in memory. */
export function clipBounds(node: Node): { low: number; high: number } | undefined {
  if (node.is('Relu')) return { low: 0, high: Number.POSITIVE_INFINITY };
  const bound = (index: number, attribute: string, fallback: number): number | undefined => {
    const input = node.inputs[index];
    return input ? constantSource(input)?.tensor.scalar() : node.float(attribute, fallback);
  };
  const low = bound(1, 'min', Number.NEGATIVE_INFINITY);
  const high = bound(2, 'max', Number.POSITIVE_INFINITY);
  return low === undefined || high === undefined ? undefined : { low, high };
}

/** Drops candidates that do not pay, until all that are left justify each other. */
function settle(graph: Graph, candidates: Candidates): void {
  const order = [...graph.nodes()].filter((node) => candidates.has(node));
  for (let size = -1; size !== candidates.size; ) {
    size = candidates.size;
    const integers = integerValues(graph, candidates);
    for (const node of order) {
      const placed = candidates.get(node);
      if (placed && !isFed(placed, integers)) candidates.delete(node);
    }
    for (const node of [...order].reverse()) {
      const placed = candidates.get(node);
      if (placed && placed.rule.kind !== 'compute' && !outputsOf(placed).some((v) => isWanted(v, candidates))) {
        candidates.delete(node);
      }
    }
  }
}

/** Values that exist as integers only, as things stand. */
function integerValues(graph: Graph, candidates: Candidates): Set<Value> {
  const integers = new Set<Value>();
  for (const node of graph.nodes()) {
    const placed = candidates.get(node);
    if (!placed || (placed.rule.kind === 'compute' && !placed.rule.integerOnly)) continue;
    if (isFed(placed, integers)) for (const v of outputsOf(placed)) integers.add(v);
  }
  return integers;
}

const outputsOf = ({ node, rule, output }: PlacedNode): Value[] =>
  rule.kind === 'carry' ? node.outputs.filter((v) => v !== null) : [output];

/** Its inputs are integers anyway (or it has the right to ask for them). */
function isFed({ node, rule, inputs }: PlacedNode, integers: ReadonlySet<Value>): boolean {
  if (rule.kind === 'compute') return true;
  const isInteger = (i: number): boolean => integers.has(node.inputs[i] as Value);
  return inputs.length > 0 && (rule.mixes ? inputs.some(isInteger) : inputs.every(isInteger));
}

/** Some integer node of the same graph reads `value` as an activation. */
function isWanted(value: Value, candidates: Candidates): boolean {
  return [...value.uses].some(({ node, index }) => candidates.get(node)?.inputs.includes(index));
}

/** What only a Concat reads gets the scale of its output: one rounding instead of two. */
function shareAcrossConcat(nodes: readonly PlacedNode[], activations: Map<Value, Value>): void {
  const shared = new Set([...activations].filter(([value, owner]) => value !== owner).map(([, owner]) => owner));
  for (const { node, inputs, output } of [...nodes].reverse()) {
    const target = activations.get(output);
    if (node.opType !== 'Concat' || !target) continue;
    for (const i of inputs) {
      const value = node.inputs[i] as Value;
      const isOwn = activations.get(value) === value && !shared.has(value);
      if (isOwn && value.uses.size === 1 && !value.isGraphOutput) activations.set(value, target);
    }
  }
}

// ---- what the integer kernels ask for ----

function refuseConv(node: Node): string | undefined {
  if (constantSource(node.inputs[0])) return 'its input is constant';
  const weight = constantSource(node.inputs[1]);
  return (
    refuseWeight(weight) ?? (weight?.transposed ? 'its weight is transposed' : refuseBias(node, weight?.tensor.dims[0]))
  );
}

function refuseGemm(node: Node): string | undefined {
  if (constantSource(node.inputs[0])) return 'its input is constant';
  if (node.int('transA', 0) !== 0) return 'it transposes its activation';
  const weight = constantSource(node.inputs[1]);
  if (!weight) return refuseWeight(weight);
  const isTransposed = (node.int('transB', 0) !== 0) !== weight.transposed;
  return refuseWeight(weight) ?? refuseBias(node, weight.tensor.dims[isTransposed ? 0 : 1]);
}

function refuseMatMul(node: Node, { activationMatMul }: PlacementOptions): string | undefined {
  const [a, b] = node.inputs.map((v) => constantSource(v));
  if (a) return 'its first operand is constant';
  if (!b) return activationMatMul ? undefined : 'both operands are activations';
  return refuseWeight(b) ?? (b.tensor.dims.length === 2 ? undefined : 'its weight is no matrix');
}

function refuseWeight(weight: ConstantSource | undefined): string | undefined {
  if (!weight) return 'its weight is not constant';
  if (weight.tensor.dtype !== 'float32') return `its weight is ${weight.tensor.dtype}, not float32`;
  return weight.tensor.size === 0 ? 'its weight is empty' : undefined;
}

function refuseBias(node: Node, channels: number | undefined): string | undefined {
  if (!node.inputs[2]) return undefined;
  const bias = constantSource(node.inputs[2]);
  if (!bias) return 'its bias is not constant';
  const { dims } = bias.tensor;
  const size = elementCount(dims);
  const isRow = size === dims.at(-1) || size === 1;
  return isRow && (size === channels || size === 1) ? undefined : `its bias of shape [${dims.join(', ')}] is no row`;
}

/** A constant has no range to observe and would be rounded for nothing. */
function refuseConstantOperand(node: Node): string | undefined {
  return node.inputs.some((v) => constantSource(v)) ? 'an operand is constant' : undefined;
}

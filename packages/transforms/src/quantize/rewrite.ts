import type { Model, Node, Use, Value } from '@pare/core';
import { removeDeadConstant } from './constant-source.js';
import type { InputStatistics } from './pair-guard.js';
import { affineParameters, integerRange, quantizeBias, type RealRange } from './params.js';
import type { PlacedNode, Placement } from './placement.js';
import { type ActivationType, type Affine, QdqWriter } from './qdq.js';
import {
  matrixOf,
  prepareWeight,
  type QuantizedWeight,
  readBias,
  type WeightScheme,
  type WeightUser,
} from './static-weights.js';
import type { WeightMatrix } from './weight-matrix.js';
import { WeightReader } from './weight-reader.js';

/** Everything that is decided before the graph is touched. */
export interface RewritePlan {
  readonly placement: Placement;
  readonly activations: ActivationType;
  readonly symmetric: boolean;
  readonly scheme: (placed: PlacedNode) => WeightScheme;
  /** Range of an activation, by the value that decides it. */
  readonly range: (owner: Value) => RealRange;
  /** What is known of each channel of an activation, given how it is quantized. */
  readonly statistics: (value: Value, affine: Affine) => InputStatistics;
  /** Mean of each channel of an activation, to correct biases by; undefined: leave them. */
  readonly means: (value: Value) => ArrayLike<number> | undefined;
  /** Domain of the quantization operators. */
  readonly domain: string;
}

/**
 * Rewrites the placed nodes of `model` into QDQ form: QuantizeLinear and DequantizeLinear around each quantized activation,
 * integer weights and biases behind a DequantizeLinear. Returns a sentence for each thing that a reader would not expect.
 */
export async function rewriteQdq(model: Model, plan: RewritePlan): Promise<string[]> {
  const { placement, symmetric, activations: dtype } = plan;
  const writer = new QdqWriter(model, plan.domain);
  const target = { ...integerRange(dtype, { symmetric }), symmetric };
  const affines = new Map<Value, Affine>();
  const affineOf = (value: Value): Affine => {
    const owner = placement.activations.get(value) ?? value;
    const affine = affines.get(owner) ?? { dtype, ...affineParameters(plan.range(owner), target) };
    affines.set(owner, affine);
    return affine;
  };
  // All ranges and then the weights are decided by what the nodes read now, before anything moves.
  for (const owner of new Set(placement.activations.values())) affineOf(owner);
  const notes = await writeWeights(plan, affineOf, writer);
  const readers = activationReaders(placement.nodes);
  for (const [value, owner] of placement.activations) {
    const wanted = readers.get(value) ?? [];
    const isCarried = placement.activations.get(value) !== value;
    const all = placement.integerOnly.has(value);
    // A carried value that only float nodes read stays as its carrier gives it: it is rounded already.
    if (wanted.length === 0 && (isCarried || !all)) continue;
    writer.quantizeActivation(value, owner.name, affineOf(value), all ? 'all' : wanted);
  }
  return notes;
}

/** The input slots of integer nodes, by the value that they read. */
function activationReaders(nodes: readonly PlacedNode[]): Map<Value, Use[]> {
  const readers = new Map<Value, Use[]>();
  for (const { node, inputs } of nodes) {
    for (const index of inputs) {
      const value = node.inputs[index] as Value;
      const uses = readers.get(value) ?? [];
      readers.set(value, uses);
      uses.push({ node, index });
    }
  }
  return readers;
}

async function writeWeights(
  plan: RewritePlan,
  affineOf: (value: Value) => Affine,
  writer: QdqWriter,
): Promise<string[]> {
  const notes: string[] = [];
  const reader = new WeightReader();
  for (const { scheme, matrix, users } of groupByWeight(plan)) {
    const [first] = users;
    if (!first?.weight) continue;
    const input = activationOf(first.node);
    const read = await Promise.all(
      users.map(async ({ node }) => ({
        node,
        inputScale: affineOf(activationOf(node)).scale,
        bias: await readBias(node, matrix.channels),
        means: plan.means(activationOf(node)),
      })),
    );
    // A weight that several activations share must suit them all: then nothing is assumed of them.
    const statistics = users.length === 1 ? plan.statistics(input, affineOf(input)) : {};
    const weight = await prepareWeight(first.weight, matrix, scheme, read, statistics, reader);
    if (weight.raised > 0) {
      notes.push(`${first.node.label}: raised ${weight.raised} weight scales so that the int32 bias cannot overflow.`);
    }
    for (const user of read) attachWeight(user, weight, writer);
  }
  return notes;
}

/** Makes the node read the integer weight and bias (a new one where it had none). */
export function attachWeight(
  { node, bias, inputScale }: Pick<WeightUser, 'node' | 'bias' | 'inputScale'>,
  weight: QuantizedWeight,
  writer: QdqWriter,
): void {
  const [, oldWeight, oldBias] = node.inputs;
  // A Gemm reads the stored matrix as it is; a MatMul gets a turned copy.
  if (weight.source.transposed && node.is('Gemm')) node.setAttribute('transB', 1 - node.int('transB', 0));
  node.setInput(1, writer.weight(weight, node));
  removeDeadConstant(oldWeight);
  if (!bias) return;
  const name = oldBias?.name ?? `${weight.source.root.name}_bias`;
  node.setInput(2, writer.bias(name, quantizeBias(bias, inputScale, weight.scales), node));
  removeDeadConstant(oldBias);
}

const activationOf = (node: Node): Value => node.inputs[0] as Value;

interface WeightGroup {
  readonly scheme: WeightScheme;
  readonly matrix: WeightMatrix;
  readonly users: PlacedNode[];
}

/** Nodes that can share one integer weight: the same tensor, seen the same way. Tied weights stay tied. */
function groupByWeight(plan: RewritePlan): Iterable<WeightGroup> {
  const groups = new Map<string, WeightGroup>();
  const ids = new Map<object, number>();
  for (const placed of plan.placement.nodes) {
    const matrix = matrixOf(placed);
    if (!placed.weight || !matrix) continue;
    const { tensor, transposed } = placed.weight;
    const id = ids.get(tensor) ?? ids.size;
    ids.set(tensor, id);
    const scheme = plan.scheme(placed);
    const key = [
      id,
      matrix.axis,
      matrix.groups,
      transposed && placed.node.is('MatMul'),
      ...Object.values(scheme),
    ].join();
    const group = groups.get(key) ?? { scheme, matrix, users: [] };
    groups.set(key, group);
    group.users.push(placed);
  }
  return groups.values();
}

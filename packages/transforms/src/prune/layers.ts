import { type Model, type Node, PareError, type Tensor, type Value } from '@pare/core';
import { constantSource } from '../quantize/constant-source.js';
import { type NodeSelection, nodeSelector } from '../quantize/select.js';
import { WEIGHT_VIEWS, type WeightView } from './weight-view.js';

/** A weight that can be pruned, with the nodes that multiply by it. */
export interface Layer {
  /** Name of the initializer, or of the output of the Constant node, that holds the weight. */
  readonly name: string;
  readonly root: Value;
  readonly tensor: Tensor;
  /** More than one where the weight is tied. */
  readonly nodes: readonly [Node, ...Node[]];
  readonly view: WeightView;
}

/** Which layers a method leaves alone by their place in the network. */
export interface LayerSelection extends NodeSelection {
  /**
   * Layers that stay as they are: `first`, those that no other layer stands before; `last`, those that none stands behind;
   * `both`. Default `none`.
   */
  readonly keep?: 'none' | 'first' | 'last' | 'both' | undefined;
}

/** The layers of a model, in the order of its nodes, and why others are none. */
export interface FoundLayers {
  readonly layers: readonly Layer[];
  readonly notes: readonly string[];
}

/**
 * The constant float32 and float16 weights of Conv, ConvTranspose, Gemm and MatMul, also in Constant nodes, behind Identity and
 * Transpose, and in subgraphs. A weight that others read too (a tied embedding), or in another way, is none.
 * @throws PareError `unsupported` for a quantized model.
 */
export function findLayers(model: Model, selection: LayerSelection): FoundLayers {
  refuseIntegers(model);
  const selected = nodeSelector(selection);
  const { keep = 'none' } = selection;
  const found = new Map<Value, { tensor: Tensor; nodes: [Node, ...Node[]]; view: WeightView }>();
  const refused = new Map<Value, string>();
  const notes: string[] = [];
  for (const node of model.allNodes()) {
    const source = weightSource(node);
    if (!source) continue;
    const { root, tensor, transposed } = source;
    const view = WEIGHT_VIEWS[node.opType]?.(node, tensor.dims, transposed) ?? 'it has no weight';
    const known = found.get(root);
    if (typeof view === 'string') refused.set(root, `${node.label} stays dense: ${view}.`);
    else if (tensor.dtype !== 'float32' && tensor.dtype !== 'float16') {
      refused.set(
        root,
        `${node.label} stays dense: its weight is ${tensor.dtype}; float32 and float16 can be changed.`,
      );
    } else if (!known) found.set(root, { tensor, nodes: [node], view });
    else if (JSON.stringify(known.view) === JSON.stringify(view)) known.nodes.push(node);
    else
      refused.set(root, `${node.label} stays dense: ${known.nodes[0].label} multiplies by its weight in another way.`);
  }
  const weighted = new Set([...found.values()].flatMap(({ nodes }) => nodes));
  const { first, last } = ends(model, weighted);
  const layers: Layer[] = [];
  for (const [root, { tensor, nodes, view }] of found) {
    const label = nodes[0].label;
    const other = otherReader(root, weighted);
    if (refused.has(root) || !nodes.every(selected)) continue;
    if (other) refused.set(root, `${label} stays dense: ${other} reads its weight too.`);
    else if ((keep === 'first' || keep === 'both') && nodes.some((node) => first.has(node))) {
      notes.push(`${label} stays dense: it is the first layer.`);
    } else if ((keep === 'last' || keep === 'both') && nodes.some((node) => last.has(node))) {
      notes.push(`${label} stays dense: it is the last layer.`);
    } else layers.push({ name: root.name, root, tensor, nodes, view });
  }
  notes.push(...refused.values());
  if (model.functions.length > 0) notes.push('Local functions were left as they are; inline them first.');
  return { layers, notes };
}

/** Puts `tensor` in the place of the weight of `layer`. */
export function replaceWeight({ root }: Layer, tensor: Tensor): void {
  if (root.initializer) root.graph.setInitializer(root, tensor);
  else root.producer?.setAttribute('value', tensor);
}

const weightSource = (node: Node): ReturnType<typeof constantSource> =>
  node.domain === '' && Object.hasOwn(WEIGHT_VIEWS, node.opType) ? constantSource(node.inputs[1]) : undefined;

/** Who reads `value`, also through Identity and Transpose, otherwise than as the weight of one of `weighted`; by its label. */
function otherReader(value: Value, weighted: ReadonlySet<Node>): string | undefined {
  if (value.isGraphOutput) return 'the output of the graph';
  for (const { node, index } of value.uses) {
    if (weighted.has(node) && index === 1) continue;
    if (!node.is('Identity') && !node.is('Transpose')) return node.label;
    const other = otherReader(node.output, weighted);
    if (other) return other;
  }
  return undefined;
}

const INTEGER_OPERATORS =
  /^(QLinear|Q(Gemm|Attention)$|ConvInteger|MatMulInteger|MatMulNBits|DynamicQuantize(MatMul|LSTM))/;

/** A model with integer weights is past pruning, even where some are still float. */
function refuseIntegers(model: Model): void {
  for (const node of model.allNodes()) {
    const dequantize = node.inputs[1]?.producer;
    const isInteger =
      INTEGER_OPERATORS.test(node.opType) ||
      (WEIGHT_VIEWS[node.opType] && dequantize?.is('DequantizeLinear') && constantSource(dequantize.inputs[0]));
    if (!isInteger) continue;
    throw new PareError(
      'unsupported',
      `This model has integer weights already (${node.label}): prune the float model, then quantize the result.`,
    );
  }
}

/** The nodes among `weighted` that depend on no other of them, and those that no other depends on; of the main graph. */
function ends(model: Model, weighted: ReadonlySet<Node>): { first: ReadonlySet<Node>; last: ReadonlySet<Node> } {
  const [first, last] = [new Set<Node>(), new Set<Node>()];
  const isWeighted = (node: Node): boolean =>
    weighted.has(node) || node.subgraphs().some((sub) => [...sub.allNodes()].some((inner) => weighted.has(inner)));
  const behind = new Set<Value>();
  for (const node of model.graph.nodes()) {
    const isBehind = operands(node).some((value) => behind.has(value));
    if (weighted.has(node) && !isBehind) first.add(node);
    if (isBehind || isWeighted(node)) for (const output of node.outputs) if (output) behind.add(output);
  }
  const before = new Set<Value>();
  for (const node of model.graph.nodesReversed()) {
    const isBefore = node.outputs.some((value) => value && before.has(value));
    if (weighted.has(node) && !isBefore) last.add(node);
    if (isBefore || isWeighted(node)) for (const value of operands(node)) before.add(value);
  }
  return { first, last };
}

/** What `node` reads, its subgraphs included. */
export function operands(node: Node): Value[] {
  const inner = node.subgraphs().flatMap((sub) => [...sub.allNodes()].flatMap((n) => n.inputs));
  return [...node.inputs, ...inner].filter((value) => value !== null);
}

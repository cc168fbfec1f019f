import {
  type DType,
  hasMacs,
  type Inference,
  inferTypes,
  type Model,
  nodeMacs,
  nodeShapes,
  operatorName,
  type Shape,
  type Tensor,
  type Value,
} from '@pare/core';
import { type ActivationPeak, peakActivations } from './memory.js';

export interface InspectOptions {
  /** Values of named dimensions, for counting: `{ batch: 1 }`. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Shapes of inputs, by name. */
  readonly inputShapes?: Readonly<Record<string, Shape>>;
}

/** What is in a model. Sizes in bytes. */
export interface Inspection {
  readonly producer: string;
  readonly irVersion: number;
  /** Version by domain; the default domain is `ai.onnx`. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly PortSummary[];
  readonly outputs: readonly PortSummary[];
  /** Nodes of the main graph, and of subgraphs. */
  readonly nodes: number;
  readonly subgraphNodes: number;
  /** Elements of all constant tensors, each once. */
  readonly parameters: number;
  readonly weightBytes: number;
  /** Multiply-accumulates of one run; null when no shape was known where it matters. */
  readonly macs: number | null;
  /** Nodes that multiply and whose shapes are not known: `macs` is without them. */
  readonly macsUnknown: number;
  readonly activations: ActivationPeak;
  /** Named dimensions that had no value and were counted as 1. */
  readonly assumedOne: readonly string[];
  readonly operators: readonly OperatorSummary[];
  /** Bytes of constants by element type. */
  readonly dtypes: Readonly<Partial<Record<DType, number>>>;
  /** The largest constants, at most 20. */
  readonly largest: readonly {
    readonly name: string;
    readonly dtype: DType;
    readonly dims: readonly number[];
    readonly bytes: number;
  }[];
}

export interface PortSummary {
  readonly name: string;
  readonly dtype: string;
  readonly dims: Shape | null;
}

export interface OperatorSummary {
  readonly operator: string;
  readonly nodes: number;
  /** Constants that these nodes read first. */
  readonly weightBytes: number;
  readonly macs: number;
}

/**
 * Counts what is in `model`. Dimensions that neither the model nor `options` gives count as 1, and are listed.
 * MACs follow the usual convention: one multiply and add is one, elementwise work is none.
 */
export function inspectModel(model: Model, options: InspectOptions = {}): Inspection {
  const { types, assumedOne } = concreteTypes(model, options);
  const constants = new Map<Value, { dtype: DType; dims: readonly number[]; bytes: number; elements: number }>();
  const operators = new Map<string, { nodes: number; weightBytes: number; macs: number }>();
  const count = (value: Value, tensor: Tensor): number => {
    const bytes = tensor.byteLength;
    constants.set(value, { dtype: tensor.dtype, dims: tensor.dims, bytes, elements: tensor.size });
    return bytes;
  };
  let subgraphNodes = 0;
  let macs = 0;
  let macsUnknown = 0;
  let macsKnown = 0;
  for (const graph of model.graph.graphs()) {
    for (const node of graph.nodes()) {
      if (graph !== model.graph) subgraphNodes++;
      const row = operators.get(operatorName(node)) ?? { nodes: 0, weightBytes: 0, macs: 0 };
      operators.set(operatorName(node), row);
      row.nodes++;
      for (const input of node.inputs) {
        if (input?.constant && !constants.has(input)) row.weightBytes += count(input, input.constant);
      }
      if (!hasMacs(node)) continue;
      const multiplied = nodeMacs(node, nodeShapes(node, types));
      if (multiplied === undefined) macsUnknown++;
      else {
        macsKnown++;
        row.macs += multiplied;
        macs += multiplied;
      }
    }
    for (const value of graph.initializers) {
      if (value.initializer && !constants.has(value)) count(value, value.initializer);
    }
  }
  const dtypes: Partial<Record<DType, number>> = {};
  for (const { dtype, bytes } of constants.values()) dtypes[dtype] = (dtypes[dtype] ?? 0) + bytes;
  const sizes = [...constants.values()];
  return {
    producer: [model.producerName, model.producerVersion].filter(Boolean).join(' '),
    irVersion: model.irVersion,
    opsets: Object.fromEntries([...model.opsets].map(([domain, version]) => [domain || 'ai.onnx', version])),
    inputs: model.graph.inputs.filter((v) => !v.constant).map(toPort),
    outputs: model.graph.outputs.map(toPort),
    nodes: model.graph.size,
    subgraphNodes,
    parameters: sizes.reduce((sum, s) => sum + s.elements, 0),
    weightBytes: sizes.reduce((sum, s) => sum + s.bytes, 0),
    macs: macsKnown === 0 && macsUnknown > 0 ? null : macs,
    macsUnknown,
    activations: peakActivations(model.graph, types),
    assumedOne,
    operators: [...operators]
      .map(([operator, row]) => ({ operator, ...row }))
      .sort((a, b) => b.weightBytes - a.weightBytes || b.macs - a.macs || b.nodes - a.nodes),
    dtypes,
    largest: [...constants]
      .map(([value, { dtype, dims, bytes }]) => ({ name: value.name, dtype, dims, bytes }))
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, 20),
  };
}

/** Types with every named dimension of the inputs given a number. */
function concreteTypes(model: Model, options: InspectOptions): { types: Inference; assumedOne: string[] } {
  const dims: Record<string, number> = { ...options.dims };
  const inputShapes: Record<string, Shape> = { ...options.inputShapes };
  const assumedOne: string[] = [];
  for (const input of model.graph.inputs) {
    if (input.constant) continue;
    const shape = inputShapes[input.name] ?? input.shape;
    if (!shape) continue;
    inputShapes[input.name] = shape.map((dim, axis) => {
      if (typeof dim === 'number') return dim;
      if (dim !== null && dims[dim] !== undefined) return dims[dim];
      assumedOne.push(dim ?? `${input.name}[${axis}]`);
      if (dim !== null) dims[dim] = 1;
      return 1;
    });
  }
  return { types: inferTypes(model, { inputShapes, dims }), assumedOne };
}

const toPort = (value: Value): PortSummary => ({
  name: value.name,
  dtype: value.dtype ?? value.type?.kind ?? 'unknown',
  dims: value.shape ?? null,
});

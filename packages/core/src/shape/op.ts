import type { DType } from '../dtype.js';
import type { AttributeKind, AttributeValues } from '../ir/attribute.js';
import type { Graph } from '../ir/graph.js';
import type { Node } from '../ir/node.js';
import type { Tensor } from '../ir/tensor.js';
import { type Dim, isTensorType, type Shape, staticShape, tensorType, type ValueType } from '../ir/type.js';

/** What is known of one value: its type, and the elements of a small tensor in row-major order (null: unknown). */
export interface Known {
  readonly type?: ValueType | undefined;
  readonly values?: readonly Dim[] | undefined;
}

/** Tensors with more elements than this have no `values`. */
export const MAX_VALUES = 512;

/** What the surroundings of a node offer to its rule. */
export interface Surroundings {
  /** Version of the operator set of the node's domain; 1 when the model does not import it. */
  readonly version: number;
  readonly inputs: readonly (Known | undefined)[];
  /** An attribute of the function call around the node, for attributes that refer to one. */
  attribute(name: string): ReturnType<Node['attributes']['get']>;
  /** A dimension that depends on the data and equals no other. */
  fresh(): Dim;
  /** The outputs of a subgraph whose inputs are `inputs`; dimensions that only its inside can name are null. */
  body(graph: Graph, inputs: readonly Known[]): readonly Known[];
}

/** A node as its rule sees it: attributes with defaults, input types, contents of small inputs. */
export class Op {
  constructor(
    readonly node: Node,
    private readonly around: Surroundings,
  ) {}

  /** Version of the operator set that the node's domain is imported at. */
  get version(): number {
    return this.around.version;
  }

  get inputCount(): number {
    return this.node.inputs.length;
  }

  get outputCount(): number {
    return this.node.outputs.length;
  }

  /** Whether input `index` is there (not left out). */
  has(index: number): boolean {
    return (this.node.inputs[index] ?? null) !== null;
  }

  input(index: number): Known | undefined {
    return this.around.inputs[index];
  }

  type(index: number): ValueType | undefined {
    return this.around.inputs[index]?.type;
  }

  dtype(index: number): DType | undefined {
    const type = this.type(index);
    return isTensorType(type) ? type.dtype : undefined;
  }

  /** Undefined when the rank is unknown. */
  shape(index: number): Shape | undefined {
    const type = this.type(index);
    return isTensorType(type) ? type.shape : undefined;
  }

  rank(index: number): number | undefined {
    return this.shape(index)?.length;
  }

  /** Dimension `axis` of input `index`, null when unknown. */
  dim(index: number, axis: number): Dim {
    return this.shape(index)?.at(axis) ?? null;
  }

  /** The elements of input `index`, when it is a small tensor with some known. */
  values(index: number): readonly Dim[] | undefined {
    return this.around.inputs[index]?.values;
  }

  /** The elements of input `index`, when all are known numbers. */
  numbers(index: number): readonly number[] | undefined {
    return staticShape(this.values(index));
  }

  /** The first element of input `index`, when it is a known number. */
  scalar(index: number): number | undefined {
    const value = this.values(index)?.[0];
    return typeof value === 'number' ? value : undefined;
  }

  attribute<K extends AttributeKind>(name: string, kind: K): AttributeValues[K] | undefined {
    let attribute = this.node.attributes.get(name);
    if (attribute?.type === 'reference') attribute = this.around.attribute(attribute.value.name);
    return attribute?.type === kind ? (attribute.value as AttributeValues[K]) : undefined;
  }

  int(name: string, fallback: number): number;
  int(name: string): number | undefined;
  int(name: string, fallback?: number): number | undefined {
    const value = this.attribute(name, 'int');
    return value === undefined ? fallback : Number(value);
  }

  ints(name: string): readonly number[] | undefined {
    return this.attribute(name, 'ints')?.map(Number);
  }

  float(name: string, fallback: number): number {
    return this.attribute(name, 'float') ?? fallback;
  }

  string(name: string, fallback: string): string {
    const value = this.attribute(name, 'string');
    return typeof value === 'string' ? value : fallback;
  }

  tensor(name: string): Tensor | undefined {
    return this.attribute(name, 'tensor');
  }

  fresh(): Dim {
    return this.around.fresh();
  }

  body(graph: Graph, inputs: readonly Known[]): readonly Known[] {
    return this.around.body(graph, inputs);
  }
}

/**
 * The rule of an operator: what is known of each output, in order. Dimensions that it cannot tell are null, outputs that it
 * knows nothing of undefined; the engine fills in what the model declares.
 */
export type Rule = (op: Op) => readonly (Known | undefined)[];
export type RuleTable = Readonly<Record<string, Rule>>;

/** Shorthand for a tensor output. */
export function tensor(dtype: DType | undefined, shape?: Shape, values?: readonly Dim[]): Known {
  const known = values !== undefined && values.length <= MAX_VALUES && values.some((v) => v !== null);
  return { type: tensorType(dtype, shape), values: known ? values : undefined };
}

/** `rank` unknown dimensions. */
export const unknownShape = (rank: number): Shape => new Array<Dim>(Math.max(0, rank)).fill(null);

/** `axis` counted from the front; undefined when it is out of range. */
export function normalizeAxis(axis: number, rank: number): number | undefined {
  const index = axis < 0 ? axis + rank : axis;
  return index >= 0 && index < rank ? index : undefined;
}

/** `axes` counted from the front, or undefined when one is out of range. */
export function normalizeAxes(axes: readonly number[], rank: number): number[] | undefined {
  const indices = axes.map((axis) => normalizeAxis(axis, rank));
  return indices.every((i) => i !== undefined) ? (indices as number[]) : undefined;
}

/** `shape` with dimension `axis` replaced. */
export function withDim(shape: Shape, axis: number, dim: Dim): Shape {
  return shape.map((d, i) => (i === axis ? dim : d));
}

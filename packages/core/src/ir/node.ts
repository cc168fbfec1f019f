import { PareError } from '../errors.js';
import {
  type Attribute,
  type AttributeKind,
  type AttributeLike,
  type AttributeValues,
  attributeGraphs,
  toAttribute,
} from './attribute.js';
import type { Graph } from './graph.js';
import type { Tensor } from './tensor.js';
import type { Use, Value } from './value.js';

const NO_ATTRIBUTES: ReadonlyMap<string, Attribute> = new Map();

/** One operation. Inputs and outputs that an operator lets the model leave out are null. */
export class Node {
  docString = '';
  /** The message that this node was read from; only the codec looks into it. */
  origin: object | undefined;

  /** @internal undefined until someone asks */
  _metadata: Map<string, string> | undefined;
  /** @internal kept by Graph */
  _graph: Graph | undefined;
  /** @internal neighbours in the graph's list */
  _previous: Node | undefined;
  /** @internal neighbours in the graph's list */
  _next: Node | undefined;

  #inputs: (Value | null)[] = [];
  #slots: (Use | undefined)[] = [];
  #outputs: (Value | null)[] = [];
  #attributes: Map<string, Attribute> | undefined;

  /** `domain` '' is the default one (`ai.onnx`). A new node is in no graph yet: `Graph.append`, `insertBefore` place it. */
  constructor(
    public opType: string,
    public domain = '',
    public name = '',
    public overload = '',
  ) {}

  /** The graph that this node is in; undefined before it is inserted and after it is removed. */
  get graph(): Graph | undefined {
    return this._graph;
  }

  get inputs(): readonly (Value | null)[] {
    return this.#inputs;
  }

  get outputs(): readonly (Value | null)[] {
    return this.#outputs;
  }

  get attributes(): ReadonlyMap<string, Attribute> {
    return this.#attributes ?? NO_ATTRIBUTES;
  }

  get metadata(): Map<string, string> {
    this._metadata ??= new Map();
    return this._metadata;
  }

  set metadata(entries: Map<string, string>) {
    this._metadata = entries;
  }

  /** The first output. @throws PareError `bad-model` when the node has none. */
  get output(): Value {
    return this.#outputs[0] ?? this.fail('has no output');
  }

  is(opType: string, domain = ''): boolean {
    return this.opType === opType && this.domain === domain;
  }

  /** Makes input `index` read `value` (null: left out). Grows the list as needed; trailing nulls are dropped. */
  setInput(index: number, value: Value | null): void {
    const old = this.#slots[index];
    if (old) this.#inputs[index]?._removeUse(old);
    while (this.#inputs.length < index) {
      this.#inputs.push(null);
      this.#slots.push(undefined);
    }
    this.#inputs[index] = value;
    const use = value ? { node: this, index } : undefined;
    this.#slots[index] = use;
    if (value && use) value._addUse(use);
    while (this.#inputs.length > 0 && this.#inputs[this.#inputs.length - 1] === null) {
      this.#inputs.pop();
      this.#slots.pop();
    }
  }

  /** Replaces all inputs. */
  setInputs(values: readonly (Value | null)[]): void {
    for (let i = this.#inputs.length - 1; i >= 0; i--) this.setInput(i, null);
    const given = values.slice(0, values.findLastIndex((value) => value !== null) + 1);
    // Lists of the right length: one that grows by elements takes room for sixteen, and models have many nodes.
    this.#slots = given.map((value, index) => (value ? { node: this, index } : undefined));
    this.#inputs = given;
    given.forEach((value, i) => {
      value?._addUse(this.#slots[i] as Use);
    });
  }

  /**
   * Makes `value` (of no other producer) output `index` of this node.
   * @throws PareError `bad-model` when another node already computes it.
   */
  setOutput(index: number, value: Value | null): void {
    if (value?._producer) value._producer.fail(`already computes "${value.name}"; one value has one producer`);
    const old = this.#outputs[index];
    if (old) old._producer = undefined;
    while (this.#outputs.length < index) this.#outputs.push(null);
    if (index === 0 && this.#outputs.length === 0) this.#outputs = [value];
    else this.#outputs[index] = value;
    if (value) value._producer = this;
    while (this.#outputs.length > 0 && this.#outputs[this.#outputs.length - 1] === null) this.#outputs.pop();
  }

  setAttribute(name: string, like: AttributeLike): void {
    const attribute = toAttribute(name, like);
    this.deleteAttribute(name);
    for (const graph of attributeGraphs(attribute)) graph._parent = this;
    this.#attributes ??= new Map();
    this.#attributes.set(name, attribute);
  }

  deleteAttribute(name: string): void {
    this.#attributes?.delete(name);
  }

  /** The graphs in the attributes of this node (branches of If, bodies of Loop and Scan). */
  subgraphs(): Graph[] {
    const graphs: Graph[] = [];
    for (const attribute of this.attributes.values()) graphs.push(...attributeGraphs(attribute));
    return graphs;
  }

  /** Value of attribute `name` when it is present and of kind `kind`. */
  attribute<K extends AttributeKind>(name: string, kind: K): AttributeValues[K] | undefined {
    const attribute = this.#attributes?.get(name);
    return attribute?.type === kind ? (attribute.value as AttributeValues[K]) : undefined;
  }

  /** Integer attribute as a number (exact below 2^53); `fallback` is the operator's default. */
  int(name: string, fallback: number): number;
  int(name: string): number | undefined;
  int(name: string, fallback?: number): number | undefined {
    const value = this.attribute(name, 'int');
    return value === undefined ? fallback : Number(value);
  }

  ints(name: string): number[] | undefined {
    return this.attribute(name, 'ints')?.map(Number);
  }

  float(name: string, fallback: number): number;
  float(name: string): number | undefined;
  float(name: string, fallback?: number): number | undefined {
    return this.attribute(name, 'float') ?? fallback;
  }

  floats(name: string): readonly number[] | undefined {
    return this.attribute(name, 'floats');
  }

  string(name: string, fallback: string): string;
  string(name: string): string | undefined;
  string(name: string, fallback?: string): string | undefined {
    const value = this.attribute(name, 'string');
    return typeof value === 'string' ? value : fallback;
  }

  tensor(name: string): Tensor | undefined {
    return this.attribute(name, 'tensor');
  }

  /** For messages: `Conv "layer1/conv"`, or by its first output when it has no name. */
  get label(): string {
    const op = this.domain ? `${this.domain}.${this.opType}` : this.opType;
    return `${op} "${this.name || (this.#outputs.find((v) => v)?.name ?? '')}"`;
  }

  /** Throws a PareError that names this node. */
  fail(problem: string): never {
    throw new PareError('bad-model', `${this.label} ${problem}.`);
  }
}

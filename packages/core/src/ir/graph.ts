import { PareError } from '../errors.js';
import type { AttributeLike } from './attribute.js';
import { Node } from './node.js';
import { GraphRoot } from './root.js';
import { type SparseTensor, Tensor } from './tensor.js';
import { tensorType, type ValueType } from './type.js';
import { Value } from './value.js';

/**
 * A graph of nodes: the model's, a subgraph's (`parent` is the node that holds it), or a function's body. Nodes are kept in
 * order and may be inserted and removed while they are iterated.
 */
export class Graph {
  docString = '';
  metadata = new Map<string, string>();
  /** The message that this graph was read from; only the codec looks into it. */
  origin: object | undefined;

  /** @internal set when the graph becomes an attribute */
  _parent: Node | undefined;

  readonly root: GraphRoot;
  readonly #values = new Map<string, Value>();
  readonly #inputs: Value[] = [];
  readonly #outputs: Value[] = [];
  readonly #initializers = new Set<Value>();
  #first: Node | undefined;
  #last: Node | undefined;
  #size = 0;

  /** A subgraph is made with the root of the graph around it, so that fresh names are fresh everywhere. */
  constructor(
    public name = '',
    root = new GraphRoot(),
  ) {
    this.root = root;
  }

  /** The node whose attribute holds this graph; undefined for a model's main graph. */
  get parent(): Node | undefined {
    return this._parent;
  }

  get inputs(): readonly Value[] {
    return this.#inputs;
  }

  get outputs(): readonly Value[] {
    return this.#outputs;
  }

  /** Values that hold a constant tensor (dense or sparse), in the order they were added. */
  get initializers(): ReadonlySet<Value> {
    return this.#initializers;
  }

  /** Number of nodes in this graph, without subgraphs. */
  get size(): number {
    return this.#size;
  }

  get first(): Node | undefined {
    return this.#first;
  }

  get last(): Node | undefined {
    return this.#last;
  }

  /** The nodes in order. Nodes may be removed and inserted meanwhile; those inserted after the current one are visited. */
  *nodes(): Generator<Node> {
    let node = this.#first;
    while (node) {
      yield node;
      // A removed node keeps its forward link, which leads back into the list.
      let next = node._next;
      while (next && next._graph !== this) next = next._next;
      node = next;
    }
  }

  /** The nodes in reverse order, safe under removal like `nodes`. */
  *nodesReversed(): Generator<Node> {
    let node = this.#last;
    while (node) {
      yield node;
      let previous = node._previous;
      while (previous && previous._graph !== this) previous = previous._previous;
      node = previous;
    }
  }

  /** Every graph below and including this one, outer before inner. */
  *graphs(): Generator<Graph> {
    yield this;
    for (const node of this.nodes()) for (const sub of node.subgraphs()) yield* sub.graphs();
  }

  /** Every node of this graph and of its subgraphs. */
  *allNodes(): Generator<Node> {
    for (const graph of this.graphs()) yield* graph.nodes();
  }

  /** Values named in this graph (not in graphs around it). */
  get values(): Iterable<Value> {
    return this.#values.values();
  }

  /** The value named `name` here or in a graph around this one. */
  value(name: string): Value | undefined {
    for (let graph: Graph | undefined = this; graph; graph = graph._parent?._graph) {
      const value = graph.#values.get(name);
      if (value) return value;
    }
    return undefined;
  }

  // ---- values ----

  /**
   * A new value of this graph. `name` left out: a fresh one.
   * @throws PareError `bad-model` when this graph already has a value of that name.
   */
  addValue(name?: string, type?: ValueType): Value {
    const unique = name ?? this.freshName('v');
    if (this.#values.has(unique)) {
      throw new PareError('bad-model', `Graph "${this.name}" has two values named "${unique}".`);
    }
    const value = new Value(this, unique, type);
    this.#values.set(unique, value);
    this.root._take(unique);
    return value;
  }

  /** `hint`, or `hint_1`, `hint_2`, ...: a name that no value of the whole model has. */
  freshName(hint: string): string {
    return this.root.freshName(hint);
  }

  /** @throws PareError `bad-model` when the name is taken, or `value` is of another graph. */
  rename(value: Value, name: string): void {
    if (value.name === name) return;
    this.#own(value);
    if (this.#values.has(name)) {
      throw new PareError('bad-model', `Graph "${this.name}" has two values named "${name}".`);
    }
    this.#values.delete(value.name);
    this.root._release(value.name);
    value._name = name;
    this.#values.set(name, value);
    this.root._take(name);
  }

  /**
   * Forgets a value that nothing computes, reads or exports. Initializers are removed too. One that was removed stays so.
   * @throws PareError `bad-model` when it is in use, or of another graph.
   */
  removeValue(value: Value): void {
    // Two inputs of a removed node may have been the same value, which its rewriter lets go of twice.
    if (value.graph === this && this.#values.get(value.name) !== value) return;
    this.#own(value);
    if (value._producer || !value.isUnused || value.isGraphInput) {
      throw new PareError('bad-model', `Value "${value.name}" is still in use and cannot be removed.`);
    }
    this.#initializers.delete(value);
    this.#values.delete(value.name);
    this.root._release(value.name);
  }

  #own(value: Value): void {
    if (value.graph === this && this.#values.get(value.name) === value) return;
    throw new PareError(
      'bad-model',
      `Value "${value.name}" is not of graph "${this.name}", but of "${value.graph.name}".`,
    );
  }

  addInput(name: string, type?: ValueType): Value {
    const value = this.#values.get(name) ?? this.addValue(name, type);
    if (type) value.type = type;
    value._isInput = true;
    this.#inputs.push(value);
    return value;
  }

  /** Takes `value` out of the inputs; it stays a value of the graph. */
  removeInput(value: Value): void {
    const index = this.#inputs.indexOf(value);
    if (index < 0) return;
    this.#inputs.splice(index, 1);
    value._isInput = false;
  }

  addOutput(value: Value): void {
    this.#outputs.push(value);
    value._outputSlots++;
  }

  /** @throws PareError `bad-option` when there is no output `index`. */
  setOutput(index: number, value: Value): void {
    const old = this.#outputs[index];
    if (!old) throw new PareError('bad-option', `Graph "${this.name}" has no output ${index} to replace.`);
    old._outputSlots--;
    this.#outputs[index] = value;
    value._outputSlots++;
  }

  removeOutput(index: number): void {
    const [old] = this.#outputs.splice(index, 1);
    if (old) old._outputSlots--;
  }

  /** A new initializer. `name` is made fresh when it is taken. */
  addInitializer(name: string, tensor: Tensor): Value {
    const value = this.addValue(this.freshName(name), tensorType(tensor.dtype, tensor.dims));
    this.setInitializer(value, tensor);
    return value;
  }

  /** Makes `value` hold `tensor` (dense or sparse), or nothing with undefined. */
  setInitializer(value: Value, tensor: Tensor | SparseTensor | undefined): void {
    value.initializer = tensor instanceof Tensor ? tensor : undefined;
    value.sparseInitializer = tensor instanceof Tensor ? undefined : tensor;
    if (tensor) this.#initializers.add(value);
    else this.#initializers.delete(value);
  }

  /**
   * Makes every reader of `old` (nodes, subgraphs, graph outputs) read `replacement`. An output of the graph keeps its name:
   * `replacement` takes it over where it can, else an Identity carries it.
   */
  replaceAllUses(old: Value, replacement: Value): void {
    if (old === replacement) return;
    for (const use of [...old.uses]) use.node.setInput(use.index, replacement);
    if (old._outputSlots > 0) this.#replaceOutput(old, replacement);
  }

  #replaceOutput(old: Value, replacement: Value): void {
    const free =
      replacement.graph === this &&
      replacement._producer !== undefined &&
      replacement._outputSlots === 0 &&
      !replacement._isInput;
    if (!free) {
      // Two outputs cannot share a name, nor can an output be an input or initializer under another name.
      const identity = new Node('Identity');
      identity.setInput(0, replacement);
      this.append(identity);
      const carrier = this.addValue(undefined, old.type);
      identity.setOutput(0, carrier);
      this.#replaceOutput(old, carrier);
      return;
    }
    const name = old.name;
    this.rename(old, this.freshName(`${name}_old`));
    this.rename(replacement, name);
    replacement.type ??= old.type;
    this.#outputs.forEach((output, index) => {
      if (output === old) this.setOutput(index, replacement);
    });
  }

  // ---- nodes ----

  append(node: Node): Node {
    return this.#link(node, this.#last, undefined);
  }

  insertBefore(anchor: Node, node: Node): Node {
    return this.#link(node, anchor._previous, anchor);
  }

  insertAfter(anchor: Node, node: Node): Node {
    return this.#link(node, anchor, anchor._next);
  }

  /**
   * Makes and places a node in one call: `inputs` as given, one new output value for each of `outputs` (names, or values that
   * exist; default one fresh name). Placed before `before`, else at the end.
   */
  addNode(
    opType: string,
    inputs: readonly (Value | null)[],
    options: {
      readonly attributes?: Readonly<Record<string, AttributeLike>>;
      readonly outputs?: readonly (string | Value)[];
      readonly domain?: string;
      readonly name?: string;
      readonly before?: Node | undefined;
    } = {},
  ): Node {
    const node = new Node(opType, options.domain, options.name);
    node.setInputs(inputs);
    for (const [name, like] of Object.entries(options.attributes ?? {})) node.setAttribute(name, like);
    const outputs = options.outputs ?? [this.freshName(`${options.name || opType}_out`)];
    for (const [i, output] of outputs.entries()) {
      node.setOutput(i, typeof output === 'string' ? this.addValue(output) : output);
    }
    return options.before ? this.insertBefore(options.before, node) : this.append(node);
  }

  /**
   * Removes `node` with its outputs. It lets go of its inputs (and so do its subgraphs).
   * @throws PareError `bad-model` when one of its outputs is still read.
   */
  remove(node: Node): void {
    for (const output of node.outputs) {
      if (output && !output.isUnused) node.fail(`cannot be removed: "${output.name}" is still read`);
    }
    for (const sub of node.subgraphs()) for (const inner of sub.allNodes()) inner.setInputs([]);
    node.setInputs([]);
    for (let i = node.outputs.length - 1; i >= 0; i--) {
      const output = node.outputs[i];
      node.setOutput(i, null);
      if (output) this.removeValue(output);
    }
    this.#unlink(node);
  }

  /**
   * Moves a node of this graph to just before `anchor`, keeping its edges.
   * @throws PareError `bad-model` when one of them is not in this graph.
   */
  moveBefore(anchor: Node, node: Node): void {
    if (anchor._graph !== this) anchor.fail(`is not in graph "${this.name}"`);
    if (anchor === node) return;
    this.#unlink(node);
    this.insertBefore(anchor, node);
  }

  /** Puts the nodes in `order`, which must be a permutation of them. */
  reorder(order: readonly Node[]): void {
    if (order.length !== this.#size || order.some((node) => node._graph !== this)) {
      throw new PareError('bad-model', `The new order of graph "${this.name}" does not hold the same nodes.`);
    }
    this.#first = this.#last = undefined;
    this.#size = 0;
    for (const node of order) {
      node._graph = undefined;
      this.append(node);
    }
  }

  #link(node: Node, previous: Node | undefined, next: Node | undefined): Node {
    if (node._graph) node.fail('is already in a graph');
    const neighbour = previous ?? next;
    if (neighbour && neighbour._graph !== this) neighbour.fail(`is not in graph "${this.name}"`);
    node._graph = this;
    node._previous = previous;
    node._next = next;
    if (previous) previous._next = node;
    else this.#first = node;
    if (next) next._previous = node;
    else this.#last = node;
    this.#size++;
    return node;
  }

  #unlink(node: Node): void {
    if (node._graph !== this) node.fail(`is not in graph "${this.name}"`);
    if (node._previous) node._previous._next = node._next;
    else this.#first = node._next;
    if (node._next) node._next._previous = node._previous;
    else this.#last = node._previous;
    node._graph = undefined;
    this.#size--;
  }
}

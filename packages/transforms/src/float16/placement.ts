import { type Graph, type Node, staticShape, type Value, type ValueType } from '@pare/core';
import { MinCut, UNCUTTABLE } from './min-cut.js';
import type { OperatorRow } from './operators.js';
import { portsOf } from './ports.js';

/** `high` is float32, `low` the 16-bit float. */
export type Precision = 'high' | 'low';

export interface PlacementTask {
  readonly graph: Graph;
  readonly typeOf: (value: Value) => ValueType | undefined;
  /** The row of an operator that can be low; undefined where it cannot. */
  readonly rowOf: (node: Node) => OperatorRow | undefined;
  /** Precision of the float32 inputs and outputs of the main graph. */
  readonly io: Precision;
  /** Nodes that must stay high. */
  readonly pinned: ReadonlySet<Node>;
  /** Values that overflow when they are low: neither their producer nor their readers may be low. */
  readonly wide: ReadonlySet<Value>;
}

/** Where every float32 value is made and read, in which precision. */
export interface Placement {
  /** Precision in which `value` is made. */
  home(value: Value): Precision;
  /** Precision in which input `index` of `node` reads. */
  input(node: Node, index: number): Precision;
  /** Precision in which output `index` of `graph` must be. */
  output(graph: Graph, index: number): Precision;
  /** Precision of the node's free attributes. */
  node(node: Node): Precision;
}

/** True for tensors of float32, the only values that change. */
export const isFloat32 = (type: ValueType | undefined): boolean => type?.kind === 'tensor' && type.dtype === 'float32';

/**
 * Chooses a precision for every node so that casts and lost gains cost least: a minimum cut between the nodes that must be
 * high and those that must be low. A cast costs by the size of its tensor and is paid once a value, however many read it;
 * an operator that stays high costs what it would have gained. So a lone Relu between two float32 nodes is not worth two
 * casts, and a weight never stays high to save one.
 */
export function place(task: PlacementTask): Placement {
  const sites = new Sites(task);
  for (const graph of task.graph.graphs()) {
    for (const node of graph.nodes()) sites.addNode(node);
  }
  for (const graph of task.graph.graphs()) for (const value of graph.values) sites.addValue(value);
  return sites.solve();
}

class Sites implements Placement {
  readonly #cut = new MinCut();
  readonly #nodes = new Map<Node, number>();
  /** Vertices of ports, by what reads and writes them. */
  readonly #portOfValue = new Map<Value, number>();
  readonly #portOfInput = new Map<Node, Map<number, number>>();
  readonly #portOfOutput = new Map<Graph, Map<number, number>>();
  readonly #outputReaders = new Map<Value, number[]>();
  #high: ArrayLike<number> = [];

  constructor(private readonly task: PlacementTask) {
    for (const input of task.graph.inputs) this.#portOfValue.set(input, this.#io);
    this.#portOfOutput.set(task.graph, new Map(task.graph.outputs.map((_, i) => [i, this.#io])));
  }

  get #io(): number {
    return this.task.io === 'high' ? this.#cut.source : this.#cut.sink;
  }

  #isFloat(value: Value | null | undefined): value is Value {
    return !!value && isFloat32(this.task.typeOf(value));
  }

  /** A vertex for `node` with what it gains by being low; source for a node that stays high. */
  addNode(node: Node): void {
    if (node.subgraphs().length > 0) this.#addControl(node);
    const row = this.task.pinned.has(node) ? undefined : this.task.rowOf(node);
    if (!row) {
      this.#nodes.set(node, this.#cut.source);
      return;
    }
    const vertex = this.#cut.vertex();
    this.#nodes.set(node, vertex);
    this.#cut.edge(vertex, this.#cut.sink, this.#gain(node, row));
  }

  #addControl(node: Node): void {
    const ports = portsOf(node);
    if (!ports) {
      // Everything that crosses this border stays as it is.
      for (const body of node.subgraphs()) {
        for (const input of body.inputs) this.#portOfValue.set(input, this.#cut.source);
        this.#portOfOutput.set(body, new Map(body.outputs.map((_, i) => [i, this.#cut.source])));
      }
      return;
    }
    const inputs = new Map<number, number>();
    this.#portOfInput.set(node, inputs);
    for (const port of ports) {
      const vertex = port.values.every((v) => this.#isFloat(v)) ? this.#cut.vertex() : this.#cut.source;
      for (const value of port.values) this.#portOfValue.set(value, vertex);
      for (const index of port.inputs) inputs.set(index, vertex);
      for (const { graph, index } of port.outputs) {
        const outputs = this.#portOfOutput.get(graph) ?? new Map<number, number>();
        this.#portOfOutput.set(graph, outputs.set(index, vertex));
      }
    }
  }

  #gain(node: Node, row: OperatorRow): number {
    const outputs = node.outputs.filter((v) => this.#isFloat(v));
    const value = outputs[0] ?? node.inputs.find((v) => this.#isFloat(v));
    if (!value) return 0;
    const weights = node.inputs.some((v) => this.#isFloat(v) && (v.constant?.size ?? 0) >= 1024);
    if (row.gain === 'heavy' || weights) return 1000 * this.#castCost(value);
    // Looking at a shape or an index gains nothing by itself.
    if (outputs.length === 0) return row.gain === 'move' ? 0 : this.#castCost(value) / 4;
    return this.#castCost(value) / (row.gain === 'move' ? 4 : 2);
  }

  /** A kernel to start, and a pass over the tensor; unknown dimensions count as 1. */
  #castCost(value: Value): number {
    const type = this.task.typeOf(value);
    const shape = type?.kind === 'tensor' ? type.shape : undefined;
    const known = staticShape(shape?.map((d) => (typeof d === 'number' ? d : 1))) ?? [];
    return 10 + 2 * Math.log2(1 + known.reduce((a, b) => a * b, 1));
  }

  /** The edges between where `value` is made and where it is read. */
  addValue(value: Value): void {
    if (!this.#isFloat(value) || value.constant) return;
    const cut = this.#cut;
    const home = this.#homeVertex(value);
    const readers = [...value.uses].map(({ node, index }) => this.#inputVertex(node, index));
    readers.push(...this.#outputVertices(value));
    const cost = this.#castCost(value);
    const down = cut.vertex();
    const up = cut.vertex();
    cut.edge(home, down, cost);
    cut.edge(up, home, cost);
    for (const reader of readers) {
      cut.edge(down, reader, UNCUTTABLE);
      cut.edge(reader, up, UNCUTTABLE);
    }
    if (!this.task.wide.has(value)) return;
    for (const vertex of [home, ...readers]) if (vertex !== cut.sink) cut.edge(cut.source, vertex, UNCUTTABLE);
  }

  /** The vertices of the graph outputs that `value` fills. */
  #outputVertices(value: Value): number[] {
    if (this.#outputReaders.size === 0) {
      for (const graph of this.task.graph.graphs()) {
        for (const [index, output] of graph.outputs.entries()) {
          const readers = this.#outputReaders.get(output) ?? [];
          readers.push(this.#portOfOutput.get(graph)?.get(index) ?? this.#cut.source);
          this.#outputReaders.set(output, readers);
        }
      }
    }
    return this.#outputReaders.get(value) ?? [];
  }

  #homeVertex(value: Value): number {
    const port = this.#portOfValue.get(value);
    if (port !== undefined) return port;
    const { producer } = value;
    if (!producer || this.task.rowOf(producer)?.keepOutputs?.includes(producer.outputs.indexOf(value))) {
      return this.#cut.source;
    }
    return this.#nodes.get(producer) ?? this.#cut.source;
  }

  #inputVertex(node: Node, index: number): number {
    if (this.task.rowOf(node)?.keep?.includes(index)) return this.#cut.source;
    return this.#portOfInput.get(node)?.get(index) ?? this.#nodes.get(node) ?? this.#cut.source;
  }

  solve(): Placement {
    this.#high = this.#cut.sourceSide();
    return this;
  }

  #precision(vertex: number): Precision {
    return this.#high[vertex] ? 'high' : 'low';
  }

  home(value: Value): Precision {
    return this.#precision(this.#homeVertex(value));
  }

  input(node: Node, index: number): Precision {
    return this.#precision(this.#inputVertex(node, index));
  }

  output(graph: Graph, index: number): Precision {
    return this.#precision(this.#portOfOutput.get(graph)?.get(index) ?? this.#cut.source);
  }

  node(node: Node): Precision {
    return this.#precision(this.#nodes.get(node) ?? this.#cut.source);
  }
}

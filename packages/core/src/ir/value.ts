import type { DType } from '../dtype.js';
import type { Graph } from './graph.js';
import type { Node } from './node.js';
import type { SparseTensor, Tensor } from './tensor.js';
import type { Shape, ValueType } from './type.js';

/** One place where a value is read: input `index` of `node`. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/**
 * What flows along an edge: a graph input, an initializer, or an output of a node. Knows who made it and who reads it (in
 * subgraphs too); Graph and Node keep that true through every edit.
 */
export class Value {
  type: ValueType | undefined;
  docString = '';
  /** The message that this value's type was read from; only the codec looks into it. */
  origin: object | undefined;

  /** The tensor, when this value is an initializer of its graph. Set through `Graph.addInitializer` and `setInitializer`. */
  initializer: Tensor | undefined;
  /** The sparse tensor, when this value is a sparse initializer. */
  sparseInitializer: SparseTensor | undefined;

  /** @internal kept by Node */
  _producer: Node | undefined;
  /** @internal kept by Node; most values have one use, and need no set for it */
  _uses: Set<Use> | Use | undefined;
  /** @internal undefined until someone asks */
  _metadata: Map<string, string> | undefined;
  /** @internal kept by Graph */
  _name: string;
  /** @internal how many input slots of its graph this value fills (0 or 1) */
  _isInput = false;
  /** @internal how many output slots of its graph this value fills */
  _outputSlots = 0;

  /** Made by Graph only: values belong to the graph that names them. */
  constructor(
    readonly graph: Graph,
    name: string,
    type?: ValueType,
  ) {
    this._name = name;
    this.type = type;
  }

  get name(): string {
    return this._name;
  }

  get metadata(): Map<string, string> {
    this._metadata ??= new Map();
    return this._metadata;
  }

  set metadata(entries: Map<string, string>) {
    this._metadata = entries;
  }

  /** The node that computes this value; undefined for inputs and initializers. */
  get producer(): Node | undefined {
    return this._producer;
  }

  /** Every input slot that reads this value, in this graph and in subgraphs. Graph outputs are not uses. */
  get uses(): ReadonlySet<Use> {
    if (!(this._uses instanceof Set)) this._uses = new Set(this._uses && [this._uses]);
    return this._uses;
  }

  /** @internal */
  _addUse(use: Use): void {
    if (this._uses === undefined) this._uses = use;
    else (this.uses as Set<Use>).add(use);
  }

  /** @internal */
  _removeUse(use: Use): void {
    if (this._uses instanceof Set) this._uses.delete(use);
    else if (this._uses === use) this._uses = undefined;
  }

  /** The nodes that read this value, each once. */
  get consumers(): Node[] {
    return [...new Set([...this.uses].map((use) => use.node))];
  }

  get isGraphInput(): boolean {
    return this._isInput;
  }

  get isGraphOutput(): boolean {
    return this._outputSlots > 0;
  }

  /** Nothing reads it: no node, and it is no output of its graph. */
  get isUnused(): boolean {
    const used = this._uses instanceof Set ? this._uses.size > 0 : this._uses !== undefined;
    return !used && this._outputSlots === 0;
  }

  /**
   * The tensor when this value never changes: an initializer that a caller cannot override, or the result of a `Constant`
   * node that holds a tensor. Before IR version 4 initializers had to be listed among the inputs, and are constant all the
   * same; from 4 on, one that is listed is a default that the caller may override.
   */
  get constant(): Tensor | undefined {
    if (this.initializer) return this._isInput && this.graph.root.irVersion >= 4 ? undefined : this.initializer;
    if (this._producer?.is('Constant')) {
      const attribute = this._producer.attributes.get('value');
      return attribute?.type === 'tensor' ? attribute.value : undefined;
    }
    return undefined;
  }

  /** Element type, when this is a tensor of a known one. */
  get dtype(): DType | undefined {
    return this.type?.kind === 'tensor' ? this.type.dtype : this.initializer?.dtype;
  }

  /** Shape, when this is a tensor of known rank. */
  get shape(): Shape | undefined {
    return this.type?.kind === 'tensor' ? this.type.shape : this.initializer?.dims;
  }
}

import type { AttributeLike, Graph, Node, Tensor, Value, ValueType } from '@pare/core';

/**
 * Writes the nodes that replace `anchor`: each is placed before it, and its outputs are named after it (or `base`). The nodes
 * have no names of their own: ONNX Runtime refuses two of one name, and a node goes by its first output.
 */
export class Emitter {
  readonly graph: Graph;
  readonly #base: string;

  constructor(
    readonly anchor: Node,
    base?: string,
  ) {
    this.graph = anchor.graph ?? anchor.fail('is in no graph');
    this.#base = base ?? (anchor.name || (anchor.outputs.find((v) => v)?.name ?? anchor.opType));
  }

  /** A node with one output. `into` is the value that it computes; default a fresh one of type `type`. */
  op(
    opType: string,
    inputs: readonly (Value | null)[],
    options: {
      readonly attributes?: Readonly<Record<string, AttributeLike>>;
      readonly domain?: string;
      readonly into?: Value;
      readonly type?: ValueType;
    } = {},
  ): Value {
    return this.node(opType, inputs, { ...options, outputs: [options.into ?? opType], types: [options.type] })
      .outputs[0] as Value;
  }

  /** A node with several outputs: a word for each, from which its name is made, or the value that it computes. */
  node(
    opType: string,
    inputs: readonly (Value | null)[],
    options: {
      readonly attributes?: Readonly<Record<string, AttributeLike>>;
      readonly domain?: string;
      readonly outputs: readonly (string | Value)[];
      readonly types?: readonly (ValueType | undefined)[];
    },
  ): Node {
    const outputs = options.outputs.map((output, i) => {
      if (typeof output !== 'string') return output;
      return this.graph.addValue(this.graph.freshName(`${this.#base}_${output}`), options.types?.[i]);
    });
    return this.graph.addNode(opType, inputs, {
      attributes: options.attributes ?? {},
      domain: options.domain ?? '',
      outputs,
      before: this.anchor,
    });
  }

  /** An initializer of the anchor's graph. */
  constant(word: string, tensor: Tensor): Value {
    return this.graph.addInitializer(`${this.#base}_${word}`, tensor);
  }

  /** Takes the first output away from the anchor, so that a new node can compute it. */
  releaseOutput(): Value {
    const output = this.anchor.output;
    this.anchor.setOutput(0, null);
    return output;
  }

  /** Removes the anchor; its inputs stay. */
  finish(): void {
    this.graph.remove(this.anchor);
  }
}

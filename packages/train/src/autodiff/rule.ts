import type { Node, Value } from '@pare/core';
import { PareError } from '@pare/core';
import type { Emitter } from './emitter.js';
import type { sweep } from './sweep.js';

/** Emits the gradient of one input, when that is wanted; null where none flows. */
export type Pullback = (() => Value | null) | null;

/**
 * The gradient of one operator: for each input the function that emits dL/d(input) from dL/d(outputs), or null for an input
 * that has none (indices, shapes). The caller calls only those that are wanted, so a rule does no dead work. A gradient may
 * have the shape that the input was broadcast to: the caller sums it.
 */
export type Rule = (op: Adjoint) => readonly Pullback[];

/** A node as its gradient rule sees it. */
export class Adjoint {
  /**
   * `captured`: the values of graphs around that subgraphs of the node read, which count as inputs after its own.
   * `gradients`: dL/d(output), null where nothing flows; one is not null. `wanted`: the values whose gradients are of use.
   * `differentiate`: for the graphs inside.
   */
  constructor(
    readonly node: Node,
    readonly emit: Emitter,
    readonly captured: readonly Value[],
    private readonly gradients: readonly (Value | null)[],
    readonly wanted: ReadonlySet<Value>,
    readonly differentiate: typeof sweep,
  ) {}

  /** Whether input `index` is there. */
  has(index: number): boolean {
    return (this.node.inputs[index] ?? null) !== null;
  }

  /** Input `index`. */
  x(index = 0): Value {
    return this.node.inputs[index] ?? this.node.fail(`has no input ${index}`);
  }

  /** Number of inputs, those left out among them. */
  get inputCount(): number {
    return this.node.inputs.length;
  }

  /** Output `index`: what the forward pass has computed already. */
  y(index = 0): Value {
    return this.node.outputs[index] ?? this.node.fail(`has no output ${index}`);
  }

  /** dL/d(output `index`); zeros where nothing flows. */
  g(index = 0): Value {
    const y = this.y(index);
    return this.gradients[index] ?? this.emit.fill(this.emit.shape(y), 0, y);
  }

  /** Whether a gradient flows into output `index`. */
  flows(index: number): boolean {
    return (this.gradients[index] ?? null) !== null;
  }

  /** Shape of input `index`. */
  shape(index = 0): readonly number[] {
    return this.emit.shape(this.x(index));
  }

  /** The elements of a constant input; undefined when it is left out. @throws PareError when it depends on the data. */
  numbers(index: number): readonly number[] | undefined {
    if (!this.has(index)) return undefined;
    const values = this.emit.numbers(this.x(index));
    if (values) return values;
    throw new PareError(
      'unsupported',
      `${this.node.label} has no gradient when its input "${this.x(index).name}" is computed in the run: make it a constant.`,
    );
  }

  /** Adds output `index` to the forward node (statistics, indices), or returns the one it has. */
  extraOutput(index: number): Value {
    const present = this.node.outputs[index];
    if (present) return present;
    const graph = this.node.graph ?? this.node.fail('is in no graph');
    const value = graph.addValue(graph.freshName(`${this.node.opType}_${index}`));
    this.node.setOutput(index, value);
    this.emit.inference.extend(this.node);
    return value;
  }

  /** An axis attribute counted from the start. */
  axis(name: string, fallback: number, rank = this.shape().length): number {
    const axis = this.node.int(name, fallback);
    return axis < 0 ? axis + rank : axis;
  }
}

/** Calls `make` once, however often it is asked: for what the gradients of several inputs share. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

import { type Graph, type Model, type Node, tensorType, type Value } from '@pare/core';
import { type ConstantSource, constantSource, removeDeadConstant } from '../constant-source.js';
import type { Emitter } from '../emit.js';
import type { WeightStore } from '../weight-store.js';

/** Rewrites one node; returns why not when it leaves it alone. Rules decide before they change anything. */
export type Rule = (node: Node, scope: Scope) => Promise<string | undefined>;

/** An activation as uint8, with the scale and zero point that were measured at run time. */
export interface QuantizedActivation {
  readonly values: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** What the rules share during one pass over a model. */
export class Scope {
  readonly #activations = new Map<Graph, Map<Value, QuantizedActivation>>();

  constructor(
    readonly model: Model,
    readonly perChannel: boolean,
    readonly weights: WeightStore,
  ) {}

  /** `value` as uint8: one DynamicQuantizeLinear in each graph that reads it, whoever reads it there. */
  activation(value: Value, emit: Emitter): QuantizedActivation {
    const ofGraph = this.#activations.get(emit.graph) ?? new Map<Value, QuantizedActivation>();
    this.#activations.set(emit.graph, ofGraph);
    const present = ofGraph.get(value);
    if (present) return present;
    const node = emit.node('DynamicQuantizeLinear', [value], {
      outputs: ['quantized', 'scale', 'zero_point'],
      types: [tensorType('uint8', value.shape), tensorType('float32', []), tensorType('uint8', [])],
    });
    const [values, scale, zeroPoint] = node.outputs as Value[];
    const quantized = { values, scale, zeroPoint } as QuantizedActivation;
    ofGraph.set(value, quantized);
    return quantized;
  }
}

/** The constant float32 weight behind `value`, or why there is none. */
export function floatWeight(value: Value | null | undefined): ConstantSource | string {
  const source = constantSource(value);
  if (!source) return 'its weight is not constant';
  const { dtype } = source.tensor;
  return dtype === 'float32' ? source : `its weight is ${dtype}, not float32`;
}

/** Gives `node` new inputs and removes the constants that nothing reads any more. */
export function replaceInputs(node: Node, inputs: readonly (Value | null)[]): void {
  const before = new Set(node.inputs);
  node.setInputs(inputs);
  for (const value of before) if (constantSource(value)) removeDeadConstant(value);
}

import type { ParameterSpec } from '../parameters.js';
import type { Bits, Precision } from './precision.js';

/** One input slot of a node, which goes by the name that its first output had before fake quantization. */
export interface Reader {
  readonly node: string;
  readonly index: number;
}

/** An activation that is rounded to the integers 0 to 2^bits - 1. */
export interface PlannedActivation {
  readonly value: string;
  /** What its readers get. Undefined where the value is rounded already (what Reshape or MaxPool make of one that is). */
  readonly rounded?: string | undefined;
  /** The initializer that holds the logarithm of the step size. */
  readonly scale: string;
  readonly bits: Bits;
  /** Integer that stands for 0; or the initializer that holds its share of 2^bits - 1, where it is learned. */
  readonly zeroPoint: number | string;
  /** Who gets the rounded value: `all`, graph outputs too, or these. */
  readonly readers: 'all' | readonly Reader[];
}

/** A weight that is rounded to the integers -limit to limit. */
export interface PlannedWeight {
  /** What the nodes read: a constant, or a Transpose of one. */
  readonly operand: string;
  readonly rounded: string;
  /** The initializer that holds the logarithms of the step sizes: one a channel, or one a block. */
  readonly scale: string;
  readonly bits: Bits;
  readonly limit: number;
  /** Weights that share a step along the summed axis; undefined: those of a channel. */
  readonly blockSize?: number | undefined;
  /** The nodes that multiply with it. */
  readonly users: readonly string[];
}

/** What fake quantization put into a model: plain data, enough to train it and to write the integer model. */
export interface QuantizationPlan {
  readonly precision: Precision;
  readonly weights: readonly PlannedWeight[];
  readonly activations: readonly PlannedActivation[];
  /** Everything to train: the parameters of the model, and those of fake quantization with how the optimizer treats them. */
  readonly parameters: Readonly<Record<string, Partial<ParameterSpec>>>;
  /** What was decided, and what stays in float and why: a sentence each. */
  readonly notes: readonly string[];
}

/** The options of `train` that a plan decides: `train(model, { ...trainingOf(plan), data, epochs })`. */
export function trainingOf(plan: QuantizationPlan): {
  readonly parameters: readonly string[];
  readonly treat: (name: string) => Partial<ParameterSpec> | undefined;
} {
  return { parameters: Object.keys(plan.parameters), treat: (name) => plan.parameters[name] };
}

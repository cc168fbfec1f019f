import type { RuntimeName } from '@pare/core/node';
import type { Precision } from '../precision.js';
import { type CpuFlavour, detectCpu } from './detect.js';
import type { ModelFacts } from './facts.js';
import { nodeCpu } from './node-cpu.js';
import { webWasm, webWebgpu } from './web.js';

/** Where a model will run. */
export type TargetName = 'node-cpu' | 'web-wasm' | 'web-webgpu';

type TransformOptions = Readonly<Record<string, unknown>>;

/** What a target makes of one kind of variant. */
export interface VariantRule {
  /** `speed`: expected to be faster. `size`: smaller, not faster. `no`: not worth building. */
  readonly aim: 'speed' | 'size' | 'no';
  /** One sentence: why it is built, or why not. */
  readonly why: string;
  /** Options of its transform on this target, as plain data; they may depend on the model. */
  readonly options?: TransformOptions | ((facts: ModelFacts) => TransformOptions);
  /** What a device must have for it, beside the target itself: names of features as in a bundle. Default nothing. */
  readonly needs?: readonly string[];
  /** Why not for a model with these facts; undefined when it makes sense. */
  readonly refuse?: (facts: ModelFacts) => string | undefined;
}

/** How 8-bit products are summed. */
export interface IntegerArithmetic {
  /** Type of quantized activations and weights. */
  readonly activations: 'uint8' | 'int8';
  readonly weights: 'int8' | 'uint8';
  /** The kernels can saturate: compare the runs with graph optimisation on and off. */
  readonly saturates: boolean;
}

/** How variants for a target are measured on the machine that makes them. */
export interface Measurement {
  /** What runs the original and the variants, for accuracy, numerics and speed alike. */
  readonly runtime: RuntimeName;
  /** Why speed cannot be measured here, a clause for a sentence; undefined where it is. */
  readonly noSpeed?: string;
  /** Why integer kernels cannot saturate there, a sentence; undefined where that is checked. */
  readonly noSaturation?: string;
  /** What readers of the numbers must know, a sentence each. */
  readonly caveats: readonly string[];
}

/** A place where models run, with what it can compute. */
export interface Target {
  readonly name: TargetName;
  /** For people: `Node.js on x64 with VNNI`. */
  readonly label: string;
  /** The runtime that executes there. */
  readonly runtime: 'onnxruntime-node' | 'onnxruntime-web';
  readonly measurement: Measurement;
  /** Processor class, for `node-cpu`. */
  readonly cpu?: CpuFlavour;
  /** Undefined where nothing computes in 8 bits. */
  readonly integers?: IntegerArithmetic;
  readonly variants: Readonly<Record<Precision, VariantRule>>;
  /** Operators with a kernel, as `Conv` or `com.microsoft.MatMulNBits`. */
  readonly operators: ReadonlySet<string>;
  /** What happens to an operator without one. */
  readonly otherwise: string;
}

export const TARGET_NAMES: readonly TargetName[] = ['node-cpu', 'web-wasm', 'web-webgpu'];

/**
 * The profile of a target. `cpu` overrides the detection of the processor for `node-cpu`, when the model will run on another
 * machine than this one.
 */
export async function targetProfile(name: TargetName, options: { readonly cpu?: CpuFlavour } = {}): Promise<Target> {
  if (name === 'web-wasm') return webWasm;
  if (name === 'web-webgpu') return webWebgpu;
  return nodeCpu(options.cpu ?? (await detectCpu()).flavour);
}

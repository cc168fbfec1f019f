import {
  type Graph,
  type Inference,
  type InferOptions,
  inferTypes,
  isFloat,
  type Model,
  PareError,
  Tensor,
  type Value,
} from '@pare/core';
import { upgradeOpset } from '@pare/transforms';
import type { ConvChoices } from './conv/choose.js';
import { Emitter } from './emitter.js';
import { sweep } from './sweep.js';

/** Options of `gradient`. */
export interface GradientOptions extends InferOptions {
  /** Name of the output to differentiate: a float scalar (shape [] or one element). */
  readonly loss: string;
  /** Names of the initializers and inputs to differentiate by: float32 or float64. Initializers become inputs. */
  readonly wrt: readonly string[];
  /** Forms of the gradients of convolutions, where they were measured by `autotune`. Default: a static rule by shape. */
  readonly convolutions?: ConvChoices | undefined;
}

/** Rules are written for this version of the operators or newer. */
export const GRADIENT_OPSET = 21;

/** Name of the output that holds dL/d(`name`). */
export const gradientName = (name: string): string => `d/${name}`;

/**
 * A model that computes what `model` computes and the gradients of one of its outputs: reverse-mode automatic
 * differentiation, graph to graph, in standard operators only, so that any ONNX Runtime trains it. For each name in `wrt` it
 * has an output `d/<name>` of the same shape; initializers in `wrt` become inputs of the same name. Shapes are fixed: give
 * each named dimension a number with `dims` or `inputShapes`. `model` stays as it is.
 *
 * @throws PareError `bad-option` when the loss is no float scalar, or does not depend on a name in `wrt`; `unsupported` for an
 *   operator without a gradient rule in between, and for shapes that depend on the data.
 */
export async function gradient(model: Model, options: GradientOptions): Promise<Model> {
  const copy = model.clone();
  await copy.transform(upgradeOpset({ to: GRADIENT_OPSET }));
  const { graph } = copy;
  const inference = inferTypes(copy, options);
  const wanted = options.wrt.map((name) => parameter(graph, inference, name));
  const emit = new Emitter(graph, inference, options.convolutions);
  foldShapes(graph, inference);
  for (const input of graph.inputs) input.type = inference.typeOf(input);
  addGradients(emit, lossValue(graph, emit, options.loss), wanted);
  return copy;
}

/**
 * Appends `scale` times dL/dv to the graph of `emit` for each `v` of `wanted` as outputs `d/<name>`; initializers among them become inputs.
 * @throws PareError `bad-option` when `loss` does not depend on one; `unsupported` for an operator without a rule.
 */
export function addGradients(emit: Emitter, loss: Value, wanted: readonly Value[], scale = 1): void {
  const { graph } = emit;
  for (const value of wanted) {
    if (!value.initializer) continue;
    const { dtype, dims } = value.initializer;
    graph.setInitializer(value, undefined);
    if (!value.isGraphInput) graph.addInput(value.name, { kind: 'tensor', dtype, shape: dims });
  }
  const seed = new Map([[loss, emit.fill(emit.shape(loss), scale, loss)]]);
  const gradients = sweep([...graph.nodes()], emit, seed, new Set(wanted));
  for (const value of wanted) {
    const result = gradients.get(value);
    if (!result) throw new PareError('bad-option', `The loss "${loss.name}" does not depend on "${value.name}".`);
    const carrier = graph.addNode('Identity', [result], { outputs: [gradientName(value.name)] });
    emit.inference.extend(carrier);
    carrier.output.type = emit.inference.typeOf(carrier.output);
    graph.addOutput(carrier.output);
  }
}

function parameter(graph: Graph, inference: Inference, name: string): Value {
  const value = graph.value(name);
  if (!value || (!value.initializer && !value.isGraphInput)) {
    throw new PareError('bad-option', `The model has no initializer or input "${name}" to differentiate by.`);
  }
  const type = inference.typeOf(value);
  const dtype = type?.kind === 'tensor' ? type.dtype : undefined;
  if (dtype !== 'float32' && dtype !== 'float64') {
    throw new PareError('bad-option', `"${name}" is ${dtype ?? 'no tensor'}: only float32 and float64 have gradients.`);
  }
  return value;
}

function lossValue(graph: Graph, emit: Emitter, name: string): Value {
  const value = graph.outputs.find((output) => output.name === name);
  if (!value) {
    const names = graph.outputs.map((output) => `"${output.name}"`).join(', ');
    throw new PareError('bad-option', `The model has no output "${name}" to be the loss; it has ${names}.`);
  }
  if (emit.size(value) !== 1 || !isFloat(emit.dtype(value))) {
    throw new PareError(
      'bad-option',
      `The loss "${name}" is ${emit.dtype(value)}[${emit.shape(value).join(', ')}]; it must be one float number.`,
    );
  }
  return value;
}

/** Makes constants of the shape computations that fixed lengths decide, so that rules find numbers. */
export function foldShapes(graph: Graph, inference: Inference): void {
  for (const node of graph.nodes()) {
    if (node.is('Constant')) continue;
    for (const value of node.outputs) {
      const type = value && inference.typeOf(value);
      if (type?.kind !== 'tensor' || type.dtype !== 'int64' || value?.isUnused !== false || value.isGraphOutput)
        continue;
      const numbers = inference.valuesOf(value);
      if (!numbers?.every((n) => typeof n === 'number')) continue;
      const constant = graph.addInitializer(
        `${value.name}_folded`,
        Tensor.of('int64', type.shape as number[], numbers),
      );
      graph.replaceAllUses(value, constant);
    }
  }
  for (const node of graph.nodesReversed()) {
    if (node.outputs.every((value) => !value || value.isUnused)) graph.remove(node);
  }
}

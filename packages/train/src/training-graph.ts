import {
  type DType,
  type Graph,
  inferTypes,
  isFloat,
  type Model,
  type Node,
  PareError,
  type Tensor,
  tensorType,
  type Value,
} from '@pare/core';
import { upgradeOpset } from '@pare/transforms';
import type { ConvChoices } from './autodiff/conv/choose.js';
import { quickenConvolutions } from './autodiff/conv/quicken.js';
import { Emitter } from './autodiff/emitter.js';
import { addGradients, foldShapes, GRADIENT_OPSET } from './autodiff/gradient.js';
import { ownStatistics } from './autodiff/rules/batch-normalization.js';
import type { ClassRange, LabelKind, Loss, LossScope } from './loss/loss.js';

/** Options of `trainingGraph`. */
export interface TrainingGraphOptions {
  readonly loss: Loss;
  /** Shape of each input, batch axis included. */
  readonly inputShapes: Readonly<Record<string, readonly number[]>>;
  /** Names of the constants to train. */
  readonly parameters: readonly string[];
  /** Train BatchNormalization with the statistics of the batch (`batch`, default), or keep the running ones (`frozen`). */
  readonly batchNorm?: 'batch' | 'frozen' | undefined;
  /** Forms of the gradients of convolutions, as `autotune` measured them. Default: a static rule by shape. */
  readonly convolutions?: ConvChoices | undefined;
  /** The gradients are those of the loss times this: the share of a part in the batch. Default 1. */
  readonly scale?: number | undefined;
}

/** A tensor that is trained. */
export interface TrainedTensor {
  readonly name: string;
  readonly tensor: Tensor;
  /** Whether it is the model's, or the loss's own (an adapter), which is not part of the trained model. */
  readonly of: 'model' | 'loss';
}

/** What a batch must bring beside the inputs of the model. */
export interface TargetInput {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** How the samples' labels are laid out in it; undefined for one that is fed by whoever knows it (a teacher). */
  readonly label?: LabelKind | undefined;
  /** Which class numbers a label may hold. */
  readonly range?: ClassRange | undefined;
}

/** Where the running statistics of one BatchNormalization are, and where the training graph puts those of the batch. */
export interface BatchStatistics {
  readonly mean: string;
  readonly variance: string;
  readonly batchMean: string;
  readonly batchVariance: string;
  /** running' = momentum * running + (1 - momentum) * batch. */
  readonly momentum: number;
  /** Elements of the batch that each channel's statistics are of. */
  readonly count: number;
}

/** A dropout that is fed its mask: `dims` of 0 and 1/(1 - ratio). */
export interface DropoutMask {
  readonly name: string;
  readonly dims: readonly number[];
  readonly ratio: number;
}

/** One step of training as a model: from inputs, labels and parameters to the loss and its gradients. */
export interface TrainingGraph {
  readonly model: Model;
  /** Name of the output that is the loss. */
  readonly loss: string;
  /** Name of the output that the loss is of; its values tell the accuracy. */
  readonly output: string;
  readonly parameters: readonly TrainedTensor[];
  readonly targets: readonly TargetInput[];
  readonly batchStatistics: readonly BatchStatistics[];
  readonly dropouts: readonly DropoutMask[];
}

const LOSS = 'loss';

/**
 * Turns a model for inference into one for a step of training: dropout takes a mask, BatchNormalization the statistics of the
 * batch, the loss is appended, then the gradients. `model` stays as it is.
 * @throws PareError `bad-option`, `bad-data` or `unsupported` with what stands in the way.
 */
export async function trainingGraph(model: Model, options: TrainingGraphOptions): Promise<TrainingGraph> {
  const { copy, emit } = await fixed(model, options.inputShapes, options.convolutions);
  const { graph } = copy;
  const batchStatistics = options.batchNorm === 'frozen' ? [] : trainBatchNorms(emit);
  const dropouts = feedDropouts(emit);
  quickenConvolutions(emit);
  const { scope, loss, output } = appendLoss(emit, options.loss);
  for (const { batchMean, batchVariance } of batchStatistics) {
    for (const name of [batchMean, batchVariance]) graph.addOutput(graph.value(name) as Value);
  }
  const own: TrainedTensor[] = options.parameters.map((name) => {
    const tensor = graph.value(name)?.initializer;
    if (!tensor) throw new PareError('bad-option', `The model has no constant "${name}" to train.`);
    return { name, tensor, of: 'model' };
  });
  const reached = dependencies(loss);
  const parameters = [...own, ...scope.parameters].filter(({ name }) => reached.has(graph.value(name) as Value));
  if (parameters.length === 0) {
    throw new PareError('bad-option', `The loss "${options.loss.name}" depends on no trained parameter.`);
  }
  addGradients(
    emit,
    loss,
    parameters.map(({ name }) => graph.value(name) as Value),
    options.scale,
  );
  removeDead(graph);
  return {
    model: copy,
    loss: loss.name,
    output: output?.name ?? loss.name,
    parameters,
    targets: scope.targets,
    batchStatistics,
    dropouts,
  };
}

/**
 * `model` with the loss as its output `loss`, as it is for inference: what validation measures where there is no better score.
 * Labels are its input `label`.
 */
export async function lossGraph(
  model: Model,
  options: Pick<TrainingGraphOptions, 'loss' | 'inputShapes'>,
): Promise<{ readonly model: Model; readonly loss: string }> {
  const { copy, emit } = await fixed(model, options.inputShapes);
  const { loss } = appendLoss(emit, options.loss);
  removeDead(copy.graph);
  return { model: copy, loss: loss.name };
}

/** A copy of `model` in the form that gradients need: constants as initializers, a recent opset, every length a number. */
async function fixed(
  model: Model,
  inputShapes: TrainingGraphOptions['inputShapes'],
  convolutions?: ConvChoices,
): Promise<{ copy: Model; emit: Emitter }> {
  const copy = model.clone();
  constantsToInitializers(copy.graph);
  await copy.transform(upgradeOpset({ to: GRADIENT_OPSET }));
  const inference = inferTypes(copy, { inputShapes });
  foldShapes(copy.graph, inference);
  for (const input of copy.graph.inputs) input.type = inference.typeOf(input);
  return { copy, emit: new Emitter(copy.graph, inference, convolutions) };
}

/** Appends the loss; the outputs of the graph become the one that it is of, and the loss. */
function appendLoss(emit: Emitter, term: Loss): { scope: Scope; loss: Value; output: Value | undefined } {
  const { graph, inference } = emit;
  const scope = new Scope(emit);
  const value = term.build(scope);
  if (emit.size(value) !== 1) throw new PareError('bad-option', `The loss "${term.name}" is not one number.`);
  const loss = graph.addNode('Identity', [value], { outputs: [graph.freshName(LOSS)] }).output;
  inference.extend(loss.producer as Node);
  loss.type = inference.typeOf(loss);
  const output = scope.observed ?? graph.outputs[0];
  for (let i = graph.outputs.length - 1; i >= 0; i--) graph.removeOutput(i);
  if (output) {
    output.type = inference.typeOf(output);
    graph.addOutput(output);
  }
  graph.addOutput(loss);
  return { scope, loss, output };
}

/** What a loss sees of the graph that it is appended to. */
class Scope implements LossScope {
  readonly targets: TargetInput[] = [];
  readonly parameters: TrainedTensor[] = [];
  /** The output that the loss asked for first. */
  observed: Value | undefined;

  constructor(readonly emit: Emitter) {}

  readonly output = (name?: string): Value => {
    const { graph } = this.emit;
    const value = graph.outputs.find((o) => (name === undefined ? isFloat(this.emit.dtype(o)) : o.name === name));
    if (!value) {
      const names = graph.outputs.map((o) => `"${o.name}"`).join(', ');
      throw new PareError(
        'bad-option',
        `The model has no ${name ? `output "${name}"` : 'float output'}; it has ${names}.`,
      );
    }
    this.observed ??= value;
    return value;
  };

  readonly value = (name: string): Value => {
    const value = this.emit.graph.value(name);
    if (!value) throw new PareError('bad-option', `The model computes no value "${name}".`);
    return value;
  };

  readonly label = (kind: LabelKind, dims?: readonly number[], range?: ClassRange): Value => {
    const output = this.output();
    const shape = this.emit.shape(output);
    const layout = dims ?? (kind === 'tensor' ? shape : shape.slice(0, 1));
    const dtype = kind === 'tensor' ? this.emit.dtype(output) : 'int64';
    return this.#input({ name: 'label', dtype, dims: layout, label: kind, range });
  };

  readonly target = (name: string, dtype: DType, dims: readonly number[]): Value => this.#input({ name, dtype, dims });

  readonly parameter = (name: string, initial: Tensor): Value => {
    const value = this.emit.graph.addInitializer(name, initial);
    this.parameters.push({ name: value.name, tensor: initial, of: 'loss' });
    return value;
  };

  #input(target: TargetInput): Value {
    const { graph } = this.emit;
    const { name, dtype, dims } = target;
    const known = this.targets.find((other) => other.name === name);
    if (known) {
      if (known.dtype === dtype && `${known.dims}` === `${dims}`) return graph.value(name) as Value;
      throw new PareError(
        'bad-option',
        `Two losses want "${name}" differently: ${known.dtype}[${known.dims.join(', ')}] and ${dtype}[${dims.join(', ')}].`,
      );
    }
    if (graph.value(name)) throw new PareError('bad-option', `The model already has a value "${name}": rename it.`);
    this.targets.push(target);
    return graph.addInput(name, tensorType(dtype, dims));
  }
}

/** A weight in a Constant node is the initializer that it stands for. */
export function constantsToInitializers(graph: Graph): void {
  for (const node of graph.nodes()) {
    const tensor = node.is('Constant') ? node.outputs[0]?.constant : undefined;
    if (!tensor) continue;
    const value = node.output;
    const { name } = value;
    const initializer = graph.addInitializer(graph.freshName(name), tensor);
    graph.replaceAllUses(value, initializer);
    graph.remove(node);
    if (!graph.value(name)) graph.rename(initializer, name);
  }
}

/** Makes every BatchNormalization compute the statistics of the batch, and expose them. */
function trainBatchNorms(emit: Emitter): BatchStatistics[] {
  const { graph, inference } = emit;
  const statistics: BatchStatistics[] = [];
  for (const node of graph.nodes()) {
    if (!node.is('BatchNormalization')) continue;
    const [x, , , mean, variance] = node.inputs;
    if (!x || !mean?.initializer || !variance?.initializer) continue;
    const shape = emit.shape(x);
    const count = emit.size(x) / Math.max(shape[1] ?? 1, 1);
    if (count < 2) {
      throw new PareError(
        'bad-data',
        `${node.label} would see one value a channel (input [${shape.join(', ')}]), whose variance is 0: use a larger batch, ` +
          'or keep its running statistics (batchNorm: "frozen").',
      );
    }
    const momentum = node.float('momentum', 0.9);
    node.setAttribute('training_mode', 1);
    // With momentum 0 the outputs 1 and 2 are the statistics of the batch; the running ones are kept outside.
    node.setAttribute('momentum', { type: 'float', value: 0 });
    for (const i of [1, 2]) {
      if (!node.outputs[i]) node.setOutput(i, graph.addValue(graph.freshName(`${mean.name}_batch`)));
    }
    ownStatistics(emit, node);
    inference.extend(node);
    const [, batchMean, batchVariance] = node.outputs as [Value, Value, Value];
    for (const value of [batchMean, batchVariance]) value.type = tensorType(emit.dtype(x), [shape[1] ?? 1]);
    statistics.push({
      mean: mean.name,
      variance: variance.name,
      batchMean: batchMean.name,
      batchVariance: batchVariance.name,
      momentum,
      count,
    });
  }
  return statistics;
}

/** Replaces every Dropout by a product with a mask that is fed. */
function feedDropouts(emit: Emitter): DropoutMask[] {
  const { graph, inference } = emit;
  const masks: DropoutMask[] = [];
  for (const node of graph.nodes()) {
    if (!node.is('Dropout')) continue;
    const x = node.inputs[0] ?? node.fail('has no input');
    const ratio = node.inputs[1] ? emit.numbers(node.inputs[1])?.[0] : 0.5;
    if (ratio === undefined) throw new PareError('unsupported', `The ratio of ${node.label} is computed in the run.`);
    if (node.outputs[1] && !node.outputs[1].isUnused) {
      throw new PareError('unsupported', `${node.label} gives its mask away: it cannot be trained.`);
    }
    if (ratio === 0) {
      graph.replaceAllUses(node.output, x);
      graph.remove(node);
      continue;
    }
    const dims = emit.shape(x);
    const mask = graph.addInput(graph.freshName('dropout_mask'), tensorType(emit.dtype(x), dims));
    const product = graph.addNode('Mul', [x, mask], { before: node });
    inference.extend(product);
    graph.replaceAllUses(node.output, product.output);
    graph.remove(node);
    masks.push({ name: mask.name, dims, ratio });
  }
  return masks;
}

/** Every value that `value` is computed from, itself included. */
function dependencies(value: Value): Set<Value> {
  const found = new Set<Value>([value]);
  const queue = [value];
  for (let at = queue.pop(); at; at = queue.pop()) {
    const node = at.producer;
    if (!node) continue;
    const captured = node.subgraphs().flatMap((g) => [...g.allNodes()].flatMap((n) => n.inputs));
    for (const x of [...node.inputs, ...captured]) {
      if (x && !found.has(x)) {
        found.add(x);
        queue.push(x);
      }
    }
  }
  return found;
}

/** Removes what leads to no output: heads that the loss does not look at, and constants that became inputs' business. */
export function removeDead(graph: Graph): void {
  for (const node of graph.nodesReversed()) {
    if (node.outputs.every((value) => !value || value.isUnused)) graph.remove(node);
  }
  for (const value of [...graph.initializers]) if (value.isUnused && !value.isGraphInput) graph.removeValue(value);
}

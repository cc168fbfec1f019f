import {
  type Engine,
  type Feeds,
  type HostTensor,
  type Model,
  PareError,
  type Session,
  type SessionOptions,
  Tensor,
} from '@pare/core';
import { type ConvChoices, gradientName } from './autodiff/index.js';
import { crc32 } from './crc32.js';
import type { LabelSpec } from './data/index.js';
import { firstNonFinite } from './diagnose.js';
import { dropoutMasks } from './dropout.js';
import type { Loss } from './loss/loss.js';
import { type ParameterSpec, ParameterStore } from './parameters.js';
import { RunningStatistics } from './running-statistics.js';
import { trainableParameters } from './trainable.js';
import { type TrainingGraph, trainingGraph } from './training-graph.js';

/** Options of `TrainingSession.open`. */
export interface TrainingSessionOptions {
  readonly engine: Engine;
  readonly loss: Loss;
  /** Shape of each input of the model, the batch axis included. */
  readonly inputShapes: Readonly<Record<string, readonly number[]>>;
  /** Names of the constants to train. Default: `trainableParameters(model)`. */
  readonly parameters?: readonly string[] | undefined;
  /** Constants that stay as they are, of those. Nothing is computed for what lies only below them. */
  readonly freeze?: ((name: string) => boolean) | undefined;
  /** How the optimizer treats a parameter: weight decay, factors on its rate and gradient, a limit. Default `ParameterSpec`'s. */
  readonly treat?: ((name: string, dims: readonly number[]) => Partial<ParameterSpec> | undefined) | undefined;
  /**
   * What the learning rate is a factor on. `absolute` (default): the step of the optimizer as it is. `relative`: that times the root
   * mean square of each tensor of the model as it starts (1 for zeros), so that Adam changes each by the same share: what has
   * learned goes on learning gently, whatever its units. The ratio of LAMB (You et al. 2020), taken once. A factor in `treat` wins.
   */
  readonly rates?: 'absolute' | 'relative' | undefined;
  /** BatchNormalization with the statistics of the batch (`batch`, default) or the running ones (`frozen`). */
  readonly batchNorm?: 'batch' | 'frozen' | undefined;
  /** Forms of the gradients of convolutions, as `autotune` measured them for the shapes of one shard. Default: a static rule. */
  readonly convolutions?: ConvChoices | undefined;
  /**
   * Equal parts of the batch that run at the same time, each on a thread of its own; their gradients are averaged.
   * BatchNormalization sees one part. The batch size must be a multiple. Default 1.
   */
  readonly shards?: number | undefined;
  /** Threads inside one part. Default 1. */
  readonly threads?: number | undefined;
  /** Of the dropout masks. Default 1. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What one step is fed: axis 0 of every tensor is the batch, but for inputs that have none. */
export interface TrainingBatch {
  readonly inputs: Feeds;
  /** `label`, and whatever else the loss asked for. */
  readonly targets: Feeds;
}

export interface StepResult {
  /** Mean over the parts of the batch. */
  readonly loss: number;
  /** What the model answered, of each part: the output that the loss is of. */
  readonly outputs: readonly HostTensor[];
}

/** How ONNX Runtime runs training graphs: one thread a part, which must not spin where others compute. */
const RUNTIME: SessionOptions = { config: { 'session.intra_op.allow_spinning': '0' }, memoryPattern: false };

/**
 * A model that is being trained: its gradient graph open in the engine, and its parameters in flat buffers outside. Computes
 * gradients; what to do with them is the caller's (`optimizer.update`), so that a training loop is a page of code.
 */
export class TrainingSession {
  #step = 0;
  /** The gradients of one part, in the layout of the parameters. */
  readonly #gradients: Float32Array;
  /** Tells the parameters that training starts from, for checkpoints. */
  readonly fingerprint: string;

  private constructor(
    private readonly model: Model,
    private readonly graph: TrainingGraph,
    private readonly sessions: readonly Session[],
    private readonly options: TrainingSessionOptions,
    readonly parameters: ParameterStore,
    readonly statistics: RunningStatistics,
  ) {
    this.#gradients = new Float32Array(parameters.length);
    const { values } = parameters;
    const sum = crc32(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    this.fingerprint = `${parameters.parameters.length} tensors, ${sum.toString(16)}`;
  }

  /**
   * @throws PareError `bad-option` when shards do not divide the batch; `unsupported` when the model cannot be trained;
   *   `engine` when the runtime refuses the gradient graph.
   */
  static async open(model: Model, options: TrainingSessionOptions): Promise<TrainingSession> {
    const { engine, shards = 1, threads = 1, freeze = () => false, signal } = options;
    const names = (options.parameters ?? trainableParameters(model)).filter((name) => !freeze(name));
    if (names.length === 0) throw new PareError('bad-option', 'Every parameter is frozen: there is nothing to train.');
    const graph = await trainingGraph(model, {
      loss: options.loss,
      inputShapes: partShapes(options.inputShapes, shards),
      parameters: names,
      batchNorm: options.batchNorm,
      convolutions: options.convolutions,
      scale: 1 / shards,
    });
    const parameters = await openParameters(graph, options);
    const statistics = await RunningStatistics.of(graph.batchStatistics, (name) => initializer(model, name));
    const settings = { ...RUNTIME, threads, isolated: shards > 1, ...(signal ? { signal } : {}) };
    const opening = Array.from({ length: shards }, () => engine.open(graph.model, settings));
    const opened = await Promise.allSettled(opening);
    const failed = opened.find((result) => result.status === 'rejected');
    const sessions = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    if (failed) {
      await Promise.all(sessions.map((session) => session.close()));
      throw failed.reason;
    }
    return new TrainingSession(model, graph, sessions, options, parameters, statistics);
  }

  /** What batches must bring beside the inputs of the model. */
  get targets(): TrainingGraph['targets'] {
    return this.graph.targets;
  }

  /** Number of the step that `gradients` computes next, from 0: the dropout masks follow from it. */
  get step(): number {
    return this.#step;
  }

  set step(step: number) {
    this.#step = step;
  }

  /**
   * Runs the model forward and backward, adds the gradients of the mean loss over the batch to `parameters.gradients`, and
   * takes the statistics of the batch into the running ones. Clear the gradients first, unless they are to accumulate.
   * @throws PareError `bad-data` when the loss is not finite, with the step and the first bad tensor.
   */
  async gradients(batch: TrainingBatch): Promise<StepResult> {
    const { sessions, graph, parameters } = this;
    const weights = parameters.feeds();
    const feeds = sessions.map((_, i) => this.#feeds(batch, weights, i));
    const results = await Promise.all(sessions.map((session, i) => session.run(feeds[i] as Feeds)));
    const losses = results.map((result) => Number(result[graph.loss]?.data[0]));
    const bad = losses.findIndex((loss) => !Number.isFinite(loss));
    if (bad >= 0) await this.#explain(losses[bad] as number, feeds[bad] as Feeds);
    // In the order of the parts, whichever came first: the sum has the same bits in every run.
    for (const result of results) {
      for (const { name, offset } of parameters.parameters) {
        this.#gradients.set(result[gradientName(name)]?.data as Float32Array, offset);
      }
      parameters.addGradients(this.#gradients);
    }
    this.statistics.update(results);
    this.#step++;
    return {
      loss: losses.reduce((a, b) => a + b, 0) / losses.length,
      outputs: results.map((result) => result[graph.output] as HostTensor),
    };
  }

  /** Name of the output that the loss is of. */
  get output(): string {
    return this.graph.output;
  }

  /**
   * Writes the trained parameters and running statistics into `model` (default: the one that was opened). `values` and
   * `statistics` may be copies of those of an earlier step.
   * @throws PareError `bad-option` when `model` lacks one.
   */
  writeTo(
    model: Model = this.model,
    values: Float32Array = this.parameters.values,
    statistics: ReadonlyMap<string, Float32Array> = this.statistics.tensors(),
  ): void {
    const views = this.parameters.views(values);
    for (const { name, tensor, of } of this.graph.parameters) {
      if (of !== 'model') continue;
      setConstant(model, name, Tensor.of('float32', tensor.dims, (views.get(name) as Float32Array).slice()));
    }
    for (const [name, data] of statistics) setConstant(model, name, Tensor.of('float32', [data.length], data.slice()));
  }

  async close(): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.close()));
  }

  #feeds(batch: TrainingBatch, weights: Feeds, part: number): Feeds {
    const { seed = 1 } = this.options;
    const feeds: Record<string, HostTensor> = { ...weights };
    for (const [name, tensor] of Object.entries({ ...batch.inputs, ...batch.targets })) {
      const dims = this.sessions[0]?.inputs.find((port) => port.name === name)?.dims;
      // An input that the loss does not depend on is not part of the graph.
      if (dims) feeds[name] = partOf(tensor, dims as readonly number[], part, name);
    }
    return { ...feeds, ...dropoutMasks(this.graph.dropouts, seed, this.#step, part) };
  }

  async #explain(loss: number, feeds: Feeds): Promise<never> {
    const first = await firstNonFinite(this.options.engine, this.graph.model, feeds);
    throw new PareError(
      'bad-data',
      `The loss became ${loss} at step ${this.#step}${first ? `: ${first}` : ''}. Lower the learning rate, clip the gradients, or ` +
        'look at the samples of that batch.',
    );
  }
}

async function openParameters(graph: TrainingGraph, { treat, rates }: TrainingSessionOptions): Promise<ParameterStore> {
  const specs: ParameterSpec[] = [];
  for (const { name, tensor, of } of graph.parameters) {
    if (tensor.dtype !== 'float32') {
      throw new PareError(
        'unsupported',
        `The parameter "${name}" is ${tensor.dtype}: only float32 models are trained.`,
      );
    }
    const { dims } = tensor;
    const values = (await tensor.toArray()) as Float32Array;
    const own = rates === 'relative' && of === 'model' ? { learningRate: sizeOf(values) } : {};
    specs.push({ ...own, ...treat?.(name, dims), name, dims, values });
  }
  return new ParameterStore(specs);
}

/** Root mean square; 1 for zeros. */
function sizeOf(values: Float32Array): number {
  let squares = 0;
  for (const v of values) squares += v * v;
  return Math.sqrt(squares / values.length) || 1;
}

/** The part of `tensor` that shard `part` runs: rows of axis 0, or the whole of what has no batch axis. */
function partOf(tensor: HostTensor, dims: readonly number[], part: number, name: string): HostTensor {
  const same = tensor.dims.length === dims.length && tensor.dims.every((d, i) => d === dims[i]);
  if (same) return tensor;
  const rows = dims[0] ?? 0;
  const fits = tensor.dims.length === dims.length && tensor.dims.every((d, i) => i === 0 || d === dims[i]);
  if (!fits || (tensor.dims[0] ?? 0) < (part + 1) * rows) {
    throw new PareError(
      'bad-data',
      `A batch brings "${name}" as [${tensor.dims.join(', ')}], and the training graph takes [${dims.join(', ')}] a part.`,
    );
  }
  const size = dims.reduce((a, b) => a * b, 1);
  return { dtype: tensor.dtype, dims, data: tensor.data.slice(part * size, (part + 1) * size) as HostTensor['data'] };
}

function partShapes(
  shapes: TrainingSessionOptions['inputShapes'],
  shards: number,
): Readonly<Record<string, readonly number[]>> {
  if (shards === 1) return shapes;
  return Object.fromEntries(
    Object.entries(shapes).map(([name, [batch = 1, ...rest]]) => {
      if (!Number.isInteger(shards) || shards < 1 || batch % shards !== 0) {
        throw new PareError('bad-option', `A batch of ${batch} cannot be split into ${shards} equal parts.`);
      }
      return [name, [batch / shards, ...rest]];
    }),
  );
}

function initializer(model: Model, name: string): Tensor {
  const tensor = model.graph.value(name)?.constant ?? model.graph.value(name)?.initializer;
  if (!tensor) throw new PareError('bad-option', `The model has no constant "${name}".`);
  return tensor;
}

/** Replaces what the constant `name` holds, in an initializer or in a Constant node. */
function setConstant(model: Model, name: string, tensor: Tensor): void {
  const value = model.graph.value(name);
  if (value?.initializer) model.graph.setInitializer(value, tensor);
  else if (value?.producer?.is('Constant')) value.producer.setAttribute('value', tensor);
  else throw new PareError('bad-option', `The model has no constant "${name}" to write the trained values to.`);
}

/** How the loss wants labels; undefined when it wants none. */
export function labelSpec(session: TrainingSession): LabelSpec | undefined {
  const target = session.targets.find((t) => t.label !== undefined);
  if (!target?.label) return undefined;
  const dtype = target.dtype as LabelSpec['dtype'];
  return { kind: target.label, dtype, dims: target.dims.slice(1), ...target.range };
}

import {
  type Engine,
  type Feeds,
  type HostTensor,
  type Model,
  PareError,
  type Session,
  throwIfAborted,
} from '@pare/core';
import {
  type CalibrationMethod,
  type CalibrationOptions,
  needsHistogram,
  TensorStatistics,
} from './calibration/index.js';
import { channelsOf, isNonNegative, type Observation } from './calibration-graph.js';
import { calibrationKey, keyDifference } from './calibration-key.js';
import { histogramPass, type Pass, reductionPass } from './calibration-pass.js';
import { Calibration, type CalibrationData, ChannelStatistics } from './calibration-result.js';
import { type Placement, type PlacementOptions, place } from './placement.js';
import { matrixOf } from './static-weights.js';

/** Options of `calibrate`. */
export interface CalibrateOptions extends PlacementOptions, CalibrationOptions {
  /** Runs the model. */
  readonly engine: Engine;
  /** How ranges follow from what was seen. Default `percentile`. */
  readonly method?: CalibrationMethod | undefined;
  /** Names of the activations to observe. Default: those that `quantizeStatic` with the same selection will ask for. */
  readonly tensors?: readonly string[] | undefined;
  /** Per-channel means and peaks of what the weights multiply, for bias correction and saturation guards. Default true. */
  readonly channels?: boolean | undefined;
  /** Weight of a new sample in the moving average. Default 0.01. */
  readonly averaging?: number | undefined;
  /** Threads of the runtime; 0 lets it choose. Default 0. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each sample with the number of samples so far. */
  readonly onProgress?: ((samples: number) => void) | undefined;
  /**
   * What `Calibration.toJSON` gave earlier. Used only when it is of the same model, data and options (by hash); `samples` must
   * then be iterable more than once.
   */
  readonly cache?: CalibrationData | undefined;
  /** Compute the key, so that the result can serve as a cache. Default: only when `cache` is given. */
  readonly keyed?: boolean | undefined;
}

/**
 * Runs `model` over `samples` once and keeps statistics of its activations: extremes, and histograms when the method needs
 * them. Memory does not grow with the number of samples, whose shapes may differ. Min-max and moving average reduce inside
 * the graph; the other methods look at the activations of one sample at a time.
 * @throws PareError `bad-data` when there is no sample, or when an activation holds NaN or infinity (the first such tensor is
 *   named); `bad-option` for unknown tensors or samples that a cache cannot be checked against; `engine`; `aborted`.
 */
export async function calibrate(
  model: Model,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  options: CalibrateOptions,
): Promise<Calibration> {
  const { method = 'percentile', percentile, power, averaging } = options;
  const placement = place(model, options);
  const observations = observe(model, placement, options);
  const parameters = { ...(percentile !== undefined && { percentile }), ...(power !== undefined && { power }) };
  const summary = { method, parameters, averaging, observations };
  const needsKey = options.cache !== undefined || options.keyed === true;
  if (needsKey) refuseOneShot(samples);
  const key = needsKey ? await calibrationKey(model, samples, summary) : undefined;
  const difference = options.cache && key ? keyDifference(options.cache.key, key) : undefined;
  if (options.cache && !difference) return Calibration.fromJSON(options.cache);
  const calibration = new Calibration(method, parameters, key, difference);
  const withHistogram = needsHistogram(method);
  for (const { tensor, channels, ranged } of observations) {
    if (ranged) {
      calibration.tensors.set(tensor, new TensorStatistics({ histogram: withHistogram, averaging: averaging ?? 0.01 }));
    }
    if (channels) calibration.channels.set(tensor, new ChannelStatistics(channels.count));
  }
  const consume = withHistogram ? histogramPass(observations, calibration) : reductionPass(observations, calibration);
  await run(consume.model(model), consume, samples, calibration, options);
  return calibration;
}

/** Which activations to look at, with per-channel numbers for those that are multiplied with a weight. */
function observe(model: Model, placement: Placement, options: CalibrateOptions): Observation[] {
  const names = options.tensors ?? [...new Set(placement.activations.values())].map((value) => value.name);
  const observed = new Map<string, Observation>();
  for (const tensor of names) {
    if (!model.graph.value(tensor)) throw new PareError('bad-option', `The model has no activation named "${tensor}".`);
    observed.set(tensor, { tensor, ranged: true, nonNegative: isNonNegative(model.graph.value(tensor)) });
  }
  if (options.channels === false) return [...observed.values()];
  for (const placed of placement.nodes) {
    const matrix = matrixOf(placed);
    const tensor = placed.node.inputs[0]?.name;
    if (!matrix || !placed.weight || !tensor || (options.tensors && !observed.has(tensor))) continue;
    const channels = channelsOf(placed.node, placed.weight.tensor.dims, matrix.depth);
    const nonNegative = isNonNegative(placed.node.inputs[0]);
    observed.set(tensor, { tensor, ranged: observed.has(tensor), nonNegative, channels });
  }
  return [...observed.values()];
}

function refuseOneShot(samples: AsyncIterable<Feeds> | Iterable<Feeds>): void {
  const iterator: unknown =
    Symbol.asyncIterator in samples ? samples[Symbol.asyncIterator]() : samples[Symbol.iterator]();
  if (iterator !== samples) return;
  throw new PareError(
    'bad-option',
    'A calibration cache needs samples that can be read twice: give an array or a data set instead of a generator.',
  );
}

async function run(
  model: Model,
  pass: Pass,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  calibration: Calibration,
  { engine, threads = 0, signal, onProgress }: CalibrateOptions,
): Promise<void> {
  // The last level of optimization keeps copies of the weights in other layouts: worth it while they are small. A memory pattern
  // would keep room for all activations at once. Threads that spin while they wait would take the time of the main thread, which
  // reads what comes out.
  const config = { 'session.intra_op.allow_spinning': '0' };
  const optimization = weightBytes(model) <= SMALL_BYTES ? 'all' : 'extended';
  const options = { threads, optimization, memoryPattern: false, config } as const;
  const session = await engine.open(model, { ...options, ...(signal && { signal }) });
  try {
    for await (const outputs of ahead(session, samples, pass.fetches)) {
      throwIfAborted(signal);
      pass.consume(outputs);
      calibration.samples++;
      refuseNotFinite(calibration);
      onProgress?.(calibration.samples);
    }
  } finally {
    await session.close();
  }
  if (calibration.samples === 0) {
    throw new PareError('bad-data', 'There is not one sample to calibrate with: give at least one, better a hundred.');
  }
}

const SMALL_BYTES = 32 * 2 ** 20;

function weightBytes(model: Model): number {
  return [...model.graph.initializers].reduce((sum, { initializer }) => sum + (initializer?.byteLength ?? 0), 0);
}

/** The outputs for each sample; while one is looked at, the runtime already works on the next. */
async function* ahead(
  session: Session,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  fetches: readonly string[],
): AsyncGenerator<Record<string, HostTensor>> {
  let running: Promise<Record<string, HostTensor>> | undefined;
  for await (const feeds of samples) {
    const next = session.run(feeds, fetches);
    // It is awaited in the next round; until then a failure must not count as unhandled.
    next.catch(() => undefined);
    if (running) yield await running;
    running = next;
  }
  if (running) yield await running;
}

function refuseNotFinite({ tensors, samples }: Calibration): void {
  for (const [name, { nan, inf }] of tensors) {
    if (nan + inf === 0) continue;
    const what = nan > 0 ? 'NaN' : 'infinity';
    throw new PareError(
      'bad-data',
      `Activation "${name}" holds ${what} in calibration sample ${samples}: a range of it would mean nothing. ` +
        'Look at that sample, or leave the nodes around out (exclude).',
    );
  }
}

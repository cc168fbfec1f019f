import { type Engine, type Feeds, type Model, type Node, PareError, type Transform, throwIfAborted } from '@pare/core';
import { type Answer, answersOf, type CompareOptions, outputSqnr } from './answers.js';
import { calibrate } from './calibrate.js';
import { place } from './placement.js';
import { type QuantizeStaticOptions, quantizeStatic } from './static.js';

/** How much one layer costs when it alone is quantized. */
export interface LayerSensitivity {
  /** Name of the node (of its first output, when it has none). */
  readonly name: string;
  readonly opType: string;
  /** Signal-to-quantization-noise ratio of the model's outputs, in decibels. Low is bad. */
  readonly sqnr: number;
}

/** Options of `layerSensitivity`. */
export interface SensitivityOptions extends QuantizeStaticOptions {
  readonly samples: AsyncIterable<Feeds> | Iterable<Feeds>;
  readonly engine: Engine;
  /** Samples to judge by. Default 32. */
  readonly judged?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Quantizes one Conv, Gemm or MatMul at a time, all others in float, and ranks them by what that does to the outputs: the
 * worst first. One calibration, then as many runs over `judged` samples as there are layers. `model` is not changed.
 * @throws PareError as `calibrate` does.
 */
export async function layerSensitivity(model: Model, options: SensitivityOptions): Promise<LayerSensitivity[]> {
  const { engine, signal, judged = 32 } = options;
  const compare: CompareOptions = { engine, signal, threads: options.threads, samples: judged };
  const expected = await answersOf(model, options.samples, compare);
  const shared = await withCalibration(model, options);
  const layers: LayerSensitivity[] = [];
  const nodes = computeNodes(model, options);
  for (const node of nodes) {
    throwIfAborted(signal);
    const copy = model.clone();
    await copy.transform(quantizeStatic({ ...shared, include: [exactly(node)] }), { engine, signal });
    layers.push({ name: nameOf(node), opType: node.opType, sqnr: await outputSqnr(copy, expected, compare) });
    options.onProgress?.(layers.length, nodes.length);
  }
  return layers.sort((a, b) => a.sqnr - b.sqnr);
}

/** Options of `quantizeMixed`. */
export interface QuantizeMixedOptions extends QuantizeStaticOptions {
  readonly samples: AsyncIterable<Feeds> | Iterable<Feeds>;
  /**
   * What the result must reach: a signal-to-quantization-noise ratio of the outputs in decibels, or a test of the caller (for
   * example: accuracy on a validation set).
   */
  readonly target: number | ((candidate: Model) => boolean | Promise<boolean>);
  /** Largest share of the layers that may stay in float, 0 to 1. Default 0.5. */
  readonly mostExcluded?: number | undefined;
  /** Samples to judge by. Default 32. */
  readonly judged?: number | undefined;
}

/**
 * Static quantization that leaves in float what it must: the fewest of the most sensitive layers with which the target holds,
 * found by bisection over the ranking of `layerSensitivity`.
 * @throws PareError `unsupported` when the target cannot be reached with `mostExcluded` of the layers in float; the model is
 *   then unchanged.
 */
export function quantizeMixed(options: QuantizeMixedOptions): Transform {
  return {
    name: 'quantizeMixed',
    apply: async (model, context) => {
      const { engine, signal } = context;
      if (!engine) throw new PareError('bad-option', 'Mixed quantization runs the model: pass an engine.');
      const { target, mostExcluded = 0.5, judged = 32, ...plain } = options;
      const shared = await withCalibration(model, { ...plain, engine, signal });
      const compare: CompareOptions = { engine, signal, threads: options.threads, samples: judged };
      const expected = await answersOf(model, options.samples, compare);
      const onProgress = (done: number, total: number): void => context.onProgress?.('sensitivity', done, total);
      let ranking: LayerSensitivity[] | undefined;
      const without = async (count: number): Promise<readonly RegExp[]> => {
        if (count === 0) return [];
        ranking ??= await layerSensitivity(model, {
          ...shared,
          samples: options.samples,
          engine,
          signal,
          judged,
          onProgress,
        });
        return ranking.slice(0, count).map(({ name }) => anchored(name));
      };
      const holds = async (count: number): Promise<boolean> => {
        throwIfAborted(signal);
        const candidate = model.clone();
        const exclude = [...(options.exclude ?? []), ...(await without(count))];
        await candidate.transform(quantizeStatic({ ...shared, exclude }), { engine, signal });
        return typeof target === 'number' ? meets(candidate, expected, compare, target) : target(candidate);
      };
      const count = await fewest(Math.floor(computeNodes(model, options).length * mostExcluded), holds);
      if (count === undefined) {
        const what = typeof target === 'number' ? `${target} dB` : 'The target';
        throw new PareError(
          'unsupported',
          `${what} cannot be reached by quantization with at most ${Math.round(mostExcluded * 100)} % of the layers in float. ` +
            'Raise mostExcluded, lower the target, or take float16.',
        );
      }
      const left = (ranking ?? []).slice(0, count);
      const exclude = [...(options.exclude ?? []), ...(await without(count))];
      const result = await quantizeStatic({ ...shared, exclude }).apply(model, context);
      const reasons = left.map(
        (l) => `${l.opType} "${l.name}" stays in float: quantized alone it leaves ${l.sqnr.toFixed(1)} dB.`,
      );
      return { changed: result.changed, notes: [...reasons, ...result.notes] };
    },
  };
}

async function meets(
  candidate: Model,
  expected: readonly Answer[],
  compare: CompareOptions,
  target: number,
): Promise<boolean> {
  return (await outputSqnr(candidate, expected, compare)) >= target;
}

/** The smallest count from 0 to `most` that holds, taking for granted that more excluded layers never do worse. */
async function fewest(most: number, holds: (count: number) => Promise<boolean>): Promise<number | undefined> {
  if (await holds(0)) return 0;
  if (most === 0 || !(await holds(most))) return undefined;
  let low = 0;
  let high = most;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (await holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** The options with a calibration of all that could be asked for, so that data is read once. */
async function withCalibration(
  model: Model,
  options: QuantizeStaticOptions & { readonly engine: Engine; readonly signal?: AbortSignal | undefined },
): Promise<QuantizeStaticOptions> {
  const { samples = [], method } = options;
  const decided = method === undefined || method === 'auto' ? 'percentile' : method;
  const calibration =
    options.calibration ??
    (await calibrate(model, samples, {
      ...options,
      method: decided,
      tensors: everything(model, options),
      onProgress: undefined,
    }));
  return { ...options, method: decided, calibration, samples: undefined };
}

/** Activations that some selection of layers quantizes: what is float between integer layers changes with the selection. */
function everything(model: Model, options: QuantizeStaticOptions): string[] {
  const names = new Set([...place(model, options).activations.values()].map((v) => v.name));
  for (const node of computeNodes(model, options)) {
    for (const value of place(model, { ...options, include: [exactly(node)] }).activations.values())
      names.add(value.name);
  }
  return [...names];
}

function computeNodes(model: Model, options: QuantizeStaticOptions): Node[] {
  return place(model, options)
    .nodes.filter(({ rule }) => rule.kind === 'compute')
    .map(({ node }) => node);
}

const nameOf = (node: Node): string => node.name || (node.outputs.find((v) => v)?.name ?? '');
const exactly = (node: Node): RegExp => anchored(nameOf(node));
const anchored = (name: string): RegExp => new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);

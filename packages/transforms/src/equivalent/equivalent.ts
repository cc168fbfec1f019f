import {
  type Engine,
  elementCount,
  type Feeds,
  type HostTensor,
  type Model,
  PareError,
  type Session,
  throwIfAborted,
} from '@pare/core';
import { type Difference, difference, larger, NO_DIFFERENCE } from './difference.js';
import { chooseShapes, type FeedPlan, fixedDims, inputsToFeed, jitter, randomFeeds } from './random-feeds.js';

/** Options of `equivalent`. */
export interface EquivalenceOptions {
  /** Number of runs with different inputs and lengths of the free dimensions. Default 3. */
  readonly runs?: number | undefined;
  /** Default 1. */
  readonly seed?: number | undefined;
  /** Lengths of named dimensions, for models that take certain ones only. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Inputs to use instead of random ones, by name. */
  readonly inputs?: Feeds | undefined;
  /**
   * Largest difference that still counts as rounding, relative to the largest magnitude of an output. Default 1e-4 for
   * float32 and float64, 1e-2 for the 16-bit floats, none for others.
   */
  readonly tolerance?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What `equivalent` found of one output. */
export interface OutputDifference extends Difference {
  readonly name: string;
  /** What the original itself makes of a rounding of its inputs, in the terms of `maxRel`: its own noise. */
  readonly noise: number;
  /** Whether the difference is within the tolerance or at most eight times the noise. */
  readonly isEqual: boolean;
}

export interface Equivalence {
  /** All outputs of all runs are equal within rounding. */
  readonly isEqual: boolean;
  readonly runs: number;
  /** Shapes of the inputs of each run, by name: shapes that the model takes. */
  readonly shapes: readonly Readonly<Record<string, readonly number[]>>[];
  /** One for each output of the original, in order. */
  readonly outputs: readonly OutputDifference[];
}

/** A model that rounds or picks (quantization, ArgMax) may answer rounding with jumps; so far beyond its own noise is too far. */
const NOISE_FACTOR = 8;

/**
 * Runs both models on the same seeded random inputs and compares every output of `before` with the one of the same place of
 * `after`. Free dimensions get several lengths, until `runs` of them suit the original. ONNX Runtime runs without its own
 * optimizations, so that the graphs are compared and not what it makes of them.
 * @throws PareError `bad-model` when the original does not run on any of the inputs, `after` does not run at all, or the
 *   outputs differ in number or name.
 */
export async function equivalent(
  engine: Engine,
  before: Model,
  after: Model,
  options: EquivalenceOptions = {},
): Promise<Equivalence> {
  const names = before.graph.outputs.map((v) => v.name);
  const others = after.graph.outputs.map((v) => v.name);
  if (`${names}` !== `${others}`) {
    throw new PareError('bad-model', `The outputs were ${names.join(', ')} and are now ${others.join(', ')}.`);
  }
  const open = (model: Model): Promise<Session> =>
    engine.open(model, { optimization: 'disabled', ...(options.signal ? { signal: options.signal } : {}) });
  const original = await open(before);
  try {
    const changed = await open(after);
    try {
      return await compare(original, changed, before, after, options);
    } finally {
      await changed.close();
    }
  } finally {
    await original.close();
  }
}

async function compare(
  original: Session,
  changed: Session,
  before: Model,
  after: Model,
  options: EquivalenceOptions,
): Promise<Equivalence> {
  const wanted = options.runs ?? 3;
  const seed = options.seed ?? 1;
  const names = before.graph.outputs.map((v) => v.name);
  const sums = names.map(() => ({ difference: NO_DIFFERENCE, noise: 0, float: '' }));
  const inputs = inputsToFeed(before, after);
  const fixed = { ...fixedDims(before, after), ...options.dims };
  let runs = 0;
  const taken: Record<string, readonly number[]>[] = [];
  let refusal: unknown;
  for (const plan of PLANS) {
    if (runs === wanted) break;
    throwIfAborted(options.signal);
    const shapes = chooseShapes(inputs, plan, fixed);
    if (shapes.some((dims) => elementCount(dims) > MAX_ELEMENTS)) continue;
    const feeds = { ...randomFeeds(inputs, shapes, plan.maxInteger, seed + runs), ...options.inputs };
    let expected: Record<string, HostTensor>;
    try {
      expected = await original.run(feeds);
    } catch (error) {
      refusal = error;
      continue;
    }
    const actual = await changed.run(feeds);
    const shaken = await original.run(jitter(feeds, seed));
    for (const [i, name] of names.entries()) {
      const sum = sums[i] as (typeof sums)[number];
      const tensor = expected[name] as HostTensor;
      sum.float = tensor.dtype;
      sum.difference = larger(sum.difference, difference(tensor, actual[name] as HostTensor));
      const noise = difference(tensor, shaken[name] as HostTensor).maxRel;
      if (Number.isFinite(noise)) sum.noise = Math.max(sum.noise, noise);
    }
    runs++;
    taken.push(Object.fromEntries(Object.entries(feeds).map(([name, { dims }]) => [name, dims])));
  }
  if (runs === 0) {
    throw new PareError(
      'bad-model',
      `The model does not run on random inputs of any shape that was tried: ${(refusal as Error | undefined)?.message ?? 'they are too large'}`,
    );
  }
  const outputs = sums.map(({ difference: found, noise, float }, i): OutputDifference => {
    const tolerance = options.tolerance ?? TOLERANCES[float] ?? 0;
    const isEqual = found.maxRel <= Math.max(tolerance, NOISE_FACTOR * noise);
    return { name: names[i] as string, ...found, noise, isEqual };
  });
  return { isEqual: outputs.every((output) => output.isEqual), runs, shapes: taken, outputs };
}

const TOLERANCES: Readonly<Record<string, number>> = { float64: 1e-4, float32: 1e-4, float16: 1e-2, bfloat16: 5e-2 };

/** Inputs beyond this are too slow to be worth it. */
const MAX_ELEMENTS = 4 << 20;

const plan = (batch: number, length: number, distinct = true, maxInteger = 8): FeedPlan => ({
  batch,
  length,
  distinct,
  maxInteger,
});

/** From what suits most models to what suits the picky ones: images in multiples of 32, sounds, small vocabularies. */
const PLANS: readonly FeedPlan[] = [
  plan(2, 5),
  plan(1, 32),
  plan(3, 64),
  plan(1, 7, false),
  plan(2, 16, false, 1),
  plan(1, 5, true, 1),
  plan(1, 64, false),
  plan(2, 128, false),
  plan(1, 224, false),
  plan(1, 512, false),
  plan(1, 4000, false),
  plan(1, 16000, false),
  plan(1, 1, true, 1),
  plan(4, 1, true, 1),
];

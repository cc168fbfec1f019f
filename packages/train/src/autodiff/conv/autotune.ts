import {
  type Engine,
  type Feeds,
  GraphBuilder,
  type HostTensor,
  type InferOptions,
  inferTypes,
  type Model,
  type SessionOptions,
  seededRandom,
  type Value,
} from '@pare/core';
import { upgradeOpset } from '@pare/transforms';
import { Emitter } from '../emitter.js';
import { foldShapes, GRADIENT_OPSET } from '../gradient.js';
import { type ConvChoices, type ConvForms, fittingForms, WEIGHT_FORMS } from './choose.js';
import {
  type ConvGeometry,
  convGeometry,
  geometryKey,
  inputDims,
  outputDims,
  product,
  transposedGeometry,
  weightDims,
} from './geometry.js';
import { INPUT_FORMS } from './input-gradient.js';
import { quickenConvolutions } from './quicken.js';

/** Options of `autotune`. */
export interface AutotuneOptions extends InferOptions {
  readonly engine: Engine;
  /** How the training graph will be run; its number of threads matters most. Default: one thread. */
  readonly session?: SessionOptions | undefined;
  /** What was measured before, on the same machine: it is taken over and not measured again. */
  readonly known?: ConvChoices | undefined;
  /** Runs of each form, after one that warms up; the quickest counts. Default 3. */
  readonly runs?: number | undefined;
}

/** A form that takes this many times as long as the best one so far in its first run gets no more. */
const HOPELESS = 2;

/**
 * Measures which forms of the gradients of each convolution in `model` are the quickest on this machine: a few milliseconds to
 * seconds for each shape, once. The result is plain data, to be kept (as JSON) and given to `gradient` or a training session
 * as `convolutions`; give the shapes that will be run, those of one shard.
 * @throws PareError `unsupported` when a shape is not known; `engine`.
 */
export async function autotune(model: Model, options: AutotuneOptions): Promise<ConvChoices> {
  const choices: Record<string, Partial<ConvForms>> = { ...options.known };
  for (const c of await geometriesOf(model, options)) {
    const key = geometryKey(c);
    if (choices[key]) continue;
    const { input, weight } = fittingForms(c);
    choices[key] = {
      input: await quickest(
        c,
        input,
        (e, { g, w }) =>
          (name) =>
            INPUT_FORMS[name].emit(e, c, g, w),
        options,
      ),
      weight: await quickest(
        c,
        weight,
        (e, { x, g }) =>
          (name) =>
            WEIGHT_FORMS[name].emit(e, c, x, g),
        options,
      ),
    };
  }
  return choices;
}

/** The float32 convolutions that a training graph of `model` has. */
async function geometriesOf(model: Model, options: InferOptions): Promise<ConvGeometry[]> {
  const copy = model.clone();
  await copy.transform(upgradeOpset({ to: GRADIENT_OPSET }));
  const inference = inferTypes(copy, options);
  foldShapes(copy.graph, inference);
  const e = new Emitter(copy.graph, inference);
  quickenConvolutions(e);
  return [...copy.graph.nodes()].flatMap((node) => {
    const of = { Conv: convGeometry, ConvTranspose: transposedGeometry }[node.domain ? '' : node.opType];
    const [x, w] = node.inputs;
    if (!of || !x || !w || e.dtype(x) !== 'float32') return [];
    return [of(node, e.shape(x), e.shape(w), e.shape(node.output))];
  });
}

interface Operands {
  readonly x: Value;
  readonly w: Value;
  readonly g: Value;
}

async function quickest<N extends string>(
  c: ConvGeometry,
  names: readonly N[],
  emitter: (e: Emitter, operands: Operands) => (name: N) => Value,
  { engine, session: settings = {}, runs = 3 }: AutotuneOptions,
): Promise<N> {
  let best = { name: names[0] as N, ms: Number.POSITIVE_INFINITY };
  if (names.length === 1) return best.name;
  for (const name of names) {
    const { model, feeds } = alone(c, (e, operands) => emitter(e, operands)(name));
    const session = await engine.open(model, { memoryPattern: false, ...settings });
    try {
      // The first run allocates memory.
      const [, first] = await session.time(feeds, 2);
      const rest = (first as number) > HOPELESS * best.ms ? [] : await session.time(feeds, Math.max(0, runs - 1));
      const ms = Math.min(first as number, ...rest);
      if (ms < best.ms) best = { name, ms };
    } finally {
      await session.close();
    }
  }
  return best.name;
}

/** A model of one gradient, and what to feed it. Its output is one element: how a result is handed over is not the question. */
function alone(c: ConvGeometry, emit: (e: Emitter, operands: Operands) => Value): { model: Model; feeds: Feeds } {
  const b = new GraphBuilder();
  const shapes = { x: inputDims(c), w: weightDims(c), g: outputDims(c) };
  const operand = (name: keyof Operands): Value => b.input(name, 'float32', shapes[name]);
  const operands = { x: operand('x'), w: operand('w'), g: operand('g') };
  const model = b.model({ opset: GRADIENT_OPSET });
  const e = new Emitter(b.graph, inferTypes(model));
  const result = emit(e, operands);
  b.output('y', e.slice(e.reshape(result, [e.size(result)]), [0], [0], [1]), 'float32');
  const random = seededRandom(1);
  const feeds: Record<string, HostTensor> = {};
  for (const input of [...b.graph.inputs]) {
    if ([...input.uses].length === 0) {
      b.graph.removeInput(input);
      continue;
    }
    const dims = shapes[input.name as keyof Operands];
    feeds[input.name] = { dtype: 'float32', dims, data: Float32Array.from({ length: product(dims) }, random.uniform) };
  }
  return { model, feeds };
}

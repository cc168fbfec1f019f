import { arrayType, type DType } from '../dtype.js';
import type { HostTensor, Port } from '../engine.js';
import { PareError } from '../errors.js';
import { elementCount } from '../ir/tensor.js';
import type { Dataset, Sample } from './dataset.js';
import { castTensor, countNonFinite, sliceTensor, stackTensors, tensorText } from './tensor.js';

/** How samples go into a model. Made by `fitData` from the first sample, then the same for all. */
export interface Fit {
  /** Name of the model input -> name of the array in the samples. */
  readonly arrays: Readonly<Record<string, string>>;
  /** Every input takes a batch axis in front of a sample: several samples can run at once. */
  readonly batched: boolean;
  /** The model takes exactly so many samples a run; null: any number. 1 where samples cannot be batched. */
  readonly fixedBatch: number | null;
  /** Sentences about what was ignored. */
  readonly warnings: readonly string[];
}

/** Several samples as one run takes them. */
export interface Batch {
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** Samples that count; the last batch of a model with a fixed batch size is filled up by repeating its last sample. */
  readonly samples: readonly Sample[];
  /** Position of the first sample in the dataset. */
  readonly start: number;
}

/**
 * Matches the first sample with the inputs of a model.
 *
 * Names must be equal; a model with one input takes a single array of any name. An input of rank r takes a sample of rank r - 1
 * (the batch axis is added) or of rank r (given as it is; a leading 1 counts as the batch axis).
 * @throws PareError `bad-data` with one sentence that says what the model needs and what the data has.
 */
export function fitData(sample: Sample, inputs: readonly Port[], name: string): Fit {
  const present = Object.keys(sample.inputs);
  const arrays: Record<string, string> = {};
  for (const port of inputs) {
    const only = inputs.length === 1 && present.length === 1 ? present[0] : undefined;
    const found = port.name in sample.inputs ? port.name : only;
    if (found === undefined) {
      throw new PareError(
        'bad-data',
        `The model needs an array for its input "${port.name}" (${tensorText(port)}), but ${name} has only ` +
          `${present.map((key) => `"${key}" (${tensorText(sample.inputs[key] as HostTensor)} a sample)`).join(', ')}. ` +
          'Name the arrays after the inputs.',
      );
    }
    arrays[port.name] = found;
  }
  const used = new Set(Object.values(arrays));
  const extra = present.filter((key) => !used.has(key));
  const batched: Port[] = [];
  for (const port of inputs) {
    const { hasBatch } = fitTensor(sample.inputs[arrays[port.name] as string] as HostTensor, port, name, sample.id);
    if (hasBatch) batched.push(port);
  }
  const fixed = [...new Set(batched.map((port) => port.dims[0]).filter((d): d is number => typeof d === 'number'))];
  const all = batched.length === inputs.length && inputs.length > 0;
  return {
    arrays,
    batched: all,
    fixedBatch: all && fixed.length <= 1 ? (fixed[0] ?? null) : 1,
    warnings: extra.map((key) => `The model takes no input "${key}"; that array of ${name} is not used.`),
  };
}

/**
 * `dataset` as feeds of `size` samples each (the fixed batch size of the model when it has one).
 * @throws PareError `bad-data` when a sample does not fit, is not finite, or there is none.
 */
export async function* batches(
  dataset: Dataset,
  inputs: readonly Port[],
  options: { readonly size?: number; readonly fit?: Fit } = {},
): AsyncGenerator<Batch> {
  let fit = options.fit;
  let pending: { sample: Sample; tensors: HostTensor[]; shape: string }[] = [];
  let index = 0;
  for await (const sample of dataset) {
    fit ??= fitData(sample, inputs, dataset.name);
    const tensors = fitSample(sample, inputs, fit, dataset.name, index);
    const shape = tensors.map((t) => t.dims.join('x')).join();
    // Samples of different shapes (lines of text, sentences) run in batches of their own.
    if (fit.fixedBatch === null && pending.length > 0 && pending[0]?.shape !== shape) {
      yield toBatch(pending, inputs, fit, index - pending.length);
      pending = [];
    }
    pending.push({ sample, tensors, shape });
    index++;
    if (pending.length === (fit.fixedBatch ?? options.size ?? 1)) {
      yield toBatch(pending, inputs, fit, index - pending.length);
      pending = [];
    }
  }
  if (index === 0) throw new PareError('bad-data', `${dataset.name} has no samples.`);
  if (pending.length > 0) yield toBatch(pending, inputs, fit as Fit, index - pending.length);
}

/**
 * `batch` for a model with other inputs than the one it was made for (a float16 twin).
 * @throws PareError `bad-data` when a sample does not fit.
 */
export function refitBatch(batch: Batch, inputs: readonly Port[], fit: Fit, name: string): Batch {
  const rows = batch.samples.map((sample, i) => ({
    sample,
    tensors: fitSample(sample, inputs, fit, name, batch.start + i),
  }));
  return toBatch(rows, inputs, fit, batch.start);
}

/**
 * The arrays of one sample as the model takes them, in the order of `inputs`, without the batch axis where it has one. `name` is
 * the dataset's, `index` the sample's place in it.
 * @throws PareError `bad-data` when an array is missing, does not fit, or holds NaN.
 */
export function fitSample(
  sample: Sample,
  inputs: readonly Port[],
  fit: Fit,
  name: string,
  index: number,
): HostTensor[] {
  const id = sample.id ?? `sample ${index}`;
  return inputs.map((port) => {
    const array = fit.arrays[port.name] as string;
    const tensor = sample.inputs[array];
    if (tensor) return fitTensor(tensor, port, name, id).tensor;
    throw new PareError(
      'bad-data',
      `${sampleName(name, id)} has no array "${array}", which the samples before it have.`,
    );
  });
}

function toBatch(
  pending: readonly { readonly sample: Sample; readonly tensors: readonly HostTensor[] }[],
  inputs: readonly Port[],
  fit: Fit,
  start: number,
): Batch {
  const feeds: Record<string, HostTensor> = {};
  const count = fit.fixedBatch ?? pending.length;
  for (const [i, port] of inputs.entries()) {
    const rows = Array.from(
      { length: count },
      (_, row) => pending[Math.min(row, pending.length - 1)]?.tensors[i] as HostTensor,
    );
    feeds[port.name] = compact(
      fit.batched || rows[0]?.dims.length !== port.dims.length ? stackTensors(rows) : (rows[0] as HostTensor),
    );
  }
  return { feeds, samples: pending.map((p) => p.sample), start };
}

/** A view of a larger buffer is copied: buffers travel whole between threads. */
function compact(tensor: HostTensor): HostTensor {
  const data = tensor.data;
  if (!ArrayBuffer.isView(data) || data.byteLength === data.buffer.byteLength) return tensor;
  return { ...tensor, data: (data as Uint8Array).slice() };
}

/**
 * The outputs of one run, sample by sample: the batch axis is taken off outputs that have it.
 * @throws PareError `bad-data` when an output of a run of several samples cannot be told apart.
 */
export function splitOutputs(
  outputs: Readonly<Record<string, HostTensor>>,
  batch: Batch,
  fit: Fit,
): Readonly<Record<string, HostTensor>>[] {
  const count = fit.fixedBatch ?? batch.samples.length;
  if (!fit.batched) return [outputs];
  return batch.samples.map((_, row) => {
    const single: Record<string, HostTensor> = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      if (tensor.dims[0] === count) single[name] = sliceTensor(tensor, row);
      else if (count === 1) single[name] = tensor;
      else {
        throw new PareError(
          'bad-data',
          `Output "${name}" is ${tensorText(tensor)} for a batch of ${count} samples: it has no batch axis. Use batch size 1.`,
        );
      }
    }
    return single;
  });
}

/** One array of a sample as the input `port` takes it, without the batch axis where it has one. */
function fitTensor(
  tensor: HostTensor,
  port: Port,
  name: string,
  id: string | undefined,
): { readonly tensor: HostTensor; readonly hasBatch: boolean } {
  const fail = (why: string): never => {
    throw new PareError(
      'bad-data',
      `${sampleName(name, id)} does not fit input "${port.name}" (${tensorText(port)}): ${why}`,
    );
  };
  const data = tensor.data;
  if (data.length < expectedLength(tensor)) fail(`its array has ${data.length} elements, too few for its shape.`);
  const typed = convert(tensor, port, fail);
  const { nan } = countNonFinite(typed);
  if (nan > 0) {
    throw new PareError(
      'bad-data',
      `${sampleName(name, id)} has NaN in the array for input "${port.name}". Remove or repair it.`,
    );
  }
  const rank = port.dims.length;
  const first = port.dims[0];
  const leadingOne = tensor.dims.length === rank && tensor.dims[0] === 1 && (first === 1 || typeof first !== 'number');
  const hasBatch = rank > 0 && (tensor.dims.length === rank - 1 || leadingOne);
  if (!hasBatch && tensor.dims.length !== rank) {
    fail(`a sample is ${tensorText(tensor)}; give it ${rank - 1} axes without the batch axis, or ${rank} with it.`);
  }
  const bare = leadingOne ? { ...typed, dims: typed.dims.slice(1) } : typed;
  const wanted = hasBatch ? port.dims.slice(1) : port.dims;
  const wrong = wanted.findIndex((d, axis) => typeof d === 'number' && d !== bare.dims[axis]);
  if (wrong >= 0) fail(`a sample is ${tensorText(tensor)}; ${shapeAdvice(bare.dims, wanted)}`);
  return { tensor: bare, hasBatch };
}

function shapeAdvice(have: readonly number[], wanted: readonly (number | string | null)[]): string {
  const [a, b, c] = have as [number, number, number];
  const fits = (dims: readonly number[]): boolean => wanted.every((d, i) => typeof d !== 'number' || d === dims[i]);
  if (have.length === 3 && fits([c, a, b])) return 'its channels come last; set layout "NCHW" or transpose it.';
  if (have.length === 3 && fits([b, c, a])) return 'its channels come first; set layout "NHWC" or transpose it.';
  return `the model takes [${wanted.map((d) => d ?? '?').join(', ')}].`;
}

function expectedLength(tensor: HostTensor): number {
  const perElement = tensor.dtype.startsWith('complex') ? 2 : 1;
  const array = arrayType(tensor.dtype);
  const packed = /^u?int[24]$|^float4/.test(tensor.dtype) && array === Uint8Array;
  return packed ? 0 : elementCount(tensor.dims) * perElement;
}

const FLOATS: ReadonlySet<DType> = new Set<DType>(['float16', 'bfloat16', 'float32', 'float64']);
const INTEGERS: ReadonlyMap<DType, readonly [number, number]> = new Map([
  ['bool', [0, 1]],
  ['int8', [-128, 127]],
  ['uint8', [0, 255]],
  ['int16', [-32768, 32767]],
  ['uint16', [0, 65535]],
  ['int32', [-(2 ** 31), 2 ** 31 - 1]],
  ['uint32', [0, 2 ** 32 - 1]],
  ['int64', [-(2 ** 63), 2 ** 63]],
  ['uint64', [0, 2 ** 64]],
]);

/**
 * Types convert where the meaning is plain: among floats, among integers that hold the values, and from wide integers to
 * floats. Bytes never become floats silently: they are pixels, and pixels need a scale.
 */
function convert(tensor: HostTensor, port: Port, fail: (why: string) => never): HostTensor {
  const [from, to] = [tensor.dtype, port.dtype];
  if (from === to) return tensor;
  if (FLOATS.has(from) && FLOATS.has(to)) return castTensor(tensor, to);
  const range = INTEGERS.get(to);
  if (INTEGERS.has(from) && range) {
    const outside = (tensor.data as unknown as readonly number[]).find((v) => v < range[0] || v > range[1]);
    if (outside !== undefined) fail(`its ${from} value ${outside} is outside ${to}.`);
    return castTensor(tensor, to);
  }
  if ((from === 'uint8' || from === 'int8') && FLOATS.has(to)) {
    const image = tensor.dims.length >= 2;
    return fail(
      image
        ? `it holds ${from} pixels. Give a preprocessing (scale, mean, std, layout) that turns them into floats, or save floats.`
        : `it holds ${from}, the model takes ${to}. Save the array as float32.`,
    );
  }
  if (INTEGERS.has(from) && FLOATS.has(to)) return castTensor(tensor, to);
  if (FLOATS.has(from) && range)
    return fail(`it holds ${from}, the model takes whole numbers (${to}). Save the array as ${to}.`);
  return fail(`it holds ${from}, the model takes ${to}.`);
}

/** For messages: `Sample 3 of val.npz`. */
export function sampleName(name: string, id: string | undefined): string {
  if (id === undefined) return name;
  const text = id.includes(name) ? id : `${id} of ${name}`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { expect } from 'vitest';
import type { Model } from '../../src/ir/model.js';
import type { Tensor } from '../../src/ir/tensor.js';
import { type Dim, isTensorType, typeText } from '../../src/ir/type.js';
import type { Value } from '../../src/ir/value.js';
import { evaluateDim } from '../../src/shape/dim.js';
import type { Inference } from '../../src/shape/infer.js';
import { serializeModel } from '../../src/write.js';

export type Feeds = Record<string, OrtTensor>;
/** The number that each name of a dimension stands for. */
export type Names = Readonly<Record<string, number>>;

const ARRAYS: Partial<Record<string, new (buffer: ArrayBuffer) => OrtTensor.DataType>> = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int8: Int8Array,
  float16: Uint16Array,
};

export function toOrt(tensor: Tensor): OrtTensor {
  const copy = new Uint8Array(tensor.bytes as Uint8Array);
  const array = ARRAYS[tensor.dtype] ?? Uint8Array;
  return new OrtTensor(tensor.dtype as OrtTensor.Type, new array(copy.buffer), tensor.dims);
}

/** What ONNX Runtime returns, or undefined where it refuses the model. */
export async function run(model: Model, feeds: Feeds): Promise<Feeds | undefined> {
  const bytes = await serializeModel(model).file.bytes();
  try {
    const session = await InferenceSession.create(bytes, {
      graphOptimizationLevel: 'disabled',
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
    });
    try {
      return (await session.run(feeds, { logSeverityLevel: 4 })) as Feeds;
    } finally {
      await session.release();
    }
  } catch (error) {
    if (process.env.SHOW) process.stdout.write(`REFUSED ${String(error).slice(0, 200)}\n`);
    return undefined;
  }
}

/**
 * Holds what is inferred of `value` against what came out. Returns whether everything was inferred; fails the test, telling
 * `what` was run, where something inferred is wrong.
 */
export function compare(inference: Inference, value: Value, found: OrtTensor, names: Names, what: string): boolean {
  const type = inference.typeOf(value);
  const where = `${value.name}: ${typeText(type)}, got ${found.type}[${found.dims}]; ${what}`;
  if (!isTensorType(type)) return false;
  if (type.dtype) expect(type.dtype, where).toBe(found.type);
  if (type.shape) expect(type.shape.length, where).toBe(found.dims.length);
  const dims = type.shape?.map((d) => evaluate(d, names));
  for (const [axis, length] of dims?.entries() ?? []) {
    if (length !== undefined) expect(length, where).toBe(found.dims[axis]);
  }
  const values = inference.valuesOf(value);
  if (values) compareValues(values, found, names, where);
  return type.dtype !== undefined && dims !== undefined && !dims.includes(undefined);
}

function compareValues(values: readonly Dim[], found: OrtTensor, names: Names, where: string): void {
  const data = Array.from(found.data as ArrayLike<number | bigint>, Number);
  expect(values.length, where).toBe(data.length);
  for (const [i, v] of values.entries()) {
    const value = evaluate(v, names);
    // Adding zero makes one of the two zeros.
    if (value !== undefined) expect(value + 0, `${where} element ${i} is ${v}`).toBe((data[i] as number) + 0);
  }
}

const evaluate = (d: Dim, names: Names): number | undefined =>
  d === null ? undefined : typeof d === 'number' ? d : evaluateDim(d, names);

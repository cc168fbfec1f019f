import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/builder.js';
import type { Model } from '../../src/ir/model.js';
import { Tensor } from '../../src/ir/tensor.js';
import { type Dim, isTensorType, type Shape, typeText } from '../../src/ir/type.js';
import { evaluateDim } from '../../src/shape/dim.js';
import { inferTypes } from '../../src/shape/infer.js';
import { serializeModel } from '../../src/write.js';
import { type CaseInput, type OperatorCase, Random } from './random.js';
import { networkCases } from './random-network-cases.js';
import { tensorCases } from './random-tensor-cases.js';

/** How much the model tells the inference: all lengths, names for most of them, and also the contents of inputs or not. */
type Knowledge = 'static' | 'symbolic' | 'blind';

const elements = (input: CaseInput, r: Random): number[] => {
  const size = input.dims.reduce((a, b) => a * b, 1);
  const positive = !input.dtype.startsWith('float');
  return Array.from({ length: size }, (_, i) => input.values?.[i] ?? (positive ? 0 : r.unit()));
};

const tensorOf = (input: CaseInput, r: Random): Tensor => {
  const values = elements(input, r);
  return Tensor.of(input.dtype, input.dims, input.dtype.includes('int64') ? values.map(toInt64) : values);
};

/** The greatest and least int64, which numbers cannot say. */
const toInt64 = (v: number): bigint => {
  if (v >= 2 ** 63) return 2n ** 63n - 1n;
  return v <= -(2 ** 63) ? -(2n ** 63n) : BigInt(v);
};

interface Built {
  readonly model: Model;
  readonly names: Record<string, number>;
  readonly feeds: Record<string, OrtTensor>;
}

function build(c: OperatorCase, knowledge: Knowledge, seed: number): Built {
  const r = new Random(seed);
  const b = new GraphBuilder();
  const names: Record<string, number> = {};
  const feeds: Record<string, OrtTensor> = {};
  const shared = new Map<number, string>();
  const inputs = c.inputs.map((input, i) => {
    if (!input) return null;
    const tensor = tensorOf(input, new Random(seed + i));
    const fixed = input.constant || (input.values !== undefined && knowledge !== 'blind');
    if (fixed) return b.constant(tensor, `c${i}`);
    const shape = input.dims.map((length, axis): Dim => {
      if (knowledge === 'static' || r.chance(0.3)) return length;
      // Some equal lengths have the same name, as those of one batch do.
      const name = (r.chance(0.4) ? shared.get(length) : undefined) ?? `i${i}_${axis}`;
      shared.set(length, name);
      names[name] = length;
      return name;
    });
    feeds[`x${i}`] = toOrt(tensor);
    return b.input(`x${i}`, input.dtype, shape);
  });
  const node = b.node(c.op, inputs, c.attributes, { outputs: c.outputs ?? 1, domain: c.domain ?? '' });
  for (const [i, output] of [...node.outputs].entries()) if (output) b.output(`y${i}`, output);
  return { model: b.model({ opset: c.opset ?? 21 }), names, feeds };
}

function toOrt(tensor: Tensor): OrtTensor {
  const bytes = tensor.bytes as Uint8Array;
  const copy = bytes.slice();
  const type = tensor.dtype as OrtTensor.Type;
  const arrays = {
    float32: Float32Array,
    float64: Float64Array,
    int64: BigInt64Array,
    int32: Int32Array,
    uint16: Uint16Array,
    int16: Int16Array,
    int8: Int8Array,
    float16: Uint16Array,
  } as const;
  const array = arrays[type as keyof typeof arrays] ?? Uint8Array;
  return new OrtTensor(type, new array(copy.buffer) as OrtTensor.DataType, tensor.dims);
}

/** What ONNX Runtime returns, or undefined where it refuses the case. */
async function run({ model, feeds }: Built): Promise<Record<string, OrtTensor> | undefined> {
  const bytes = await serializeModel(model).file.bytes();
  try {
    const session = await InferenceSession.create(bytes, {
      graphOptimizationLevel: 'disabled',
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
    });
    try {
      return (await session.run(feeds, { logSeverityLevel: 4 })) as Record<string, OrtTensor>;
    } finally {
      await session.release();
    }
  } catch {
    return undefined;
  }
}

/** Compares what is inferred with what came out; returns whether everything was inferred, throws where it is wrong. */
function compare(c: OperatorCase, knowledge: Knowledge, built: Built, truth: Record<string, OrtTensor>): boolean {
  const inference = inferTypes(built.model);
  let complete = true;
  for (const output of built.model.graph.outputs) {
    const type = inference.typeOf(output);
    const found = truth[output.name];
    if (!found) continue;
    const where = `${c.op} (${knowledge}) ${output.name}: ${typeText(type)}, got ${found.type}[${found.dims}]; ${JSON.stringify(c)}`;
    if (!isTensorType(type)) {
      complete = false;
      continue;
    }
    if (type.dtype) expect(type.dtype, where).toBe(found.type);
    if (type.shape) expect(type.shape.length, where).toBe(found.dims.length);
    const values = (type.shape as Shape | undefined)?.map((d) => (d === null ? undefined : evaluate(d, built.names)));
    for (const [axis, value] of values?.entries() ?? []) {
      if (value !== undefined) expect(value, where).toBe(found.dims[axis]);
    }
    complete &&= type.dtype !== undefined && values !== undefined && !values.includes(undefined);
    checkValues(inference.valuesOf(output), found, built.names, where);
  }
  return complete;
}

const evaluate = (d: Exclude<Dim, null>, names: Record<string, number>): number | undefined =>
  typeof d === 'number' ? d : evaluateDim(d, names);

function checkValues(
  values: readonly Dim[] | undefined,
  found: OrtTensor,
  names: Record<string, number>,
  where: string,
): void {
  if (!values) return;
  const data = Array.from(found.data as ArrayLike<number | bigint>, Number);
  expect(values.length, where).toBe(data.length);
  for (const [i, v] of values.entries()) {
    const value = v === null ? undefined : evaluate(v, names);
    if (value !== undefined) expect(value + 0, `${where} element ${i}`).toBe((data[i] as number) + 0);
  }
}

const CASES = 24;
/** Families whose results depend on data, so that nothing can be known in full. */
const DATA_DEPENDENT = new Set(['nonZero', 'unique']);

describe('differential against ONNX Runtime', () => {
  it.each(Object.entries({ ...tensorCases, ...networkCases }))('%s', async (family, generate) => {
    const counts = { ran: 0, static: 0, symbolic: 0, blind: 0 };
    for (let i = 0; i < CASES; i++) {
      const c = generate(new Random(1000 * i + 7));
      const truth = await run(build(c, 'static', i));
      if (!truth) continue;
      counts.ran++;
      for (const knowledge of ['static', 'symbolic', 'blind'] as const) {
        if (compare(c, knowledge, build(c, knowledge, i), truth)) counts[knowledge]++;
      }
    }
    if (process.env.SHOW) process.stdout.write(`${family} ${JSON.stringify(counts)}\n`);
    expect(counts.ran).toBeGreaterThanOrEqual(CASES / 3);
    if (!DATA_DEPENDENT.has(family)) expect(counts.static).toBe(counts.ran);
  });
});

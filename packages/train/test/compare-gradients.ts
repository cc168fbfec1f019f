import {
  type Engine,
  type Feeds,
  type HostTensor,
  inferTypes,
  type Model,
  seededRandom,
  staticShape,
} from '@pare/core';
import { gradient, gradientName } from '../src/autodiff/index.js';
import { randomTensor, weighOutputs } from './check-gradient.js';

/**
 * Compares the gradients of `model`, in float32, to those of `reference`, the same function of the same inputs in float64,
 * written in other operators: for operators that ONNX Runtime computes in float32 only, where difference quotients are coarse.
 * Every element of every gradient is compared, and the loss, a sum of the outputs with fixed random weights.
 *
 * Returns the worst |difference| / max(1, |largest of the tensor|); throws when it is above `tolerance` (default 2e-5).
 */
export async function compareGradients(
  engine: Engine,
  model: Model,
  reference: Model,
  options: { readonly wrt?: readonly string[]; readonly feeds?: Feeds; readonly tolerance?: number } = {},
): Promise<number> {
  const random = seededRandom(11);
  const inference = inferTypes(reference);
  const feeds: Record<string, HostTensor> = {};
  for (const { name } of reference.graph.inputs) {
    const type = inference.typeOf(reference.graph.value(name) as never);
    if (type?.kind !== 'tensor' || !type.dtype) throw new Error(`no type for ${name}`);
    feeds[name] =
      options.feeds?.[name] ?? rounded(randomTensor(type.dtype, staticShape(type.shape) ?? [], random.normal));
  }
  const wrt = options.wrt ?? Object.keys(feeds).filter((name) => feeds[name]?.dtype.startsWith('float'));
  const [ours, truth] = [await run(engine, model, feeds, wrt), await run(engine, reference, feeds, wrt)];
  let worst = 0;
  for (const [name, tensor] of Object.entries(truth)) {
    const other = ours[name] as HostTensor;
    if (`${other.dims}` !== `${tensor.dims}`) throw new Error(`${name} is [${other.dims}], not [${tensor.dims}]`);
    const expected = Array.from(tensor.data as Float64Array);
    const scale = expected.reduce((max, v) => Math.max(max, Math.abs(v)), 1);
    for (const [i, value] of expected.entries()) {
      const error = Math.abs(Number(other.data[i]) - value) / scale;
      if (!(error <= (options.tolerance ?? 2e-5))) {
        throw new Error(`${name}[${i}] is ${other.data[i]}, and ${value} in float64`);
      }
      worst = Math.max(worst, error);
    }
  }
  return worst;
}

async function run(
  engine: Engine,
  model: Model,
  feeds: Feeds,
  wrt: readonly string[],
): Promise<Record<string, HostTensor>> {
  const withLoss = model.clone();
  weighOutputs(withLoss, {}, seededRandom(3).normal);
  const session = await engine.open(await gradient(withLoss, { loss: 'L', wrt }));
  try {
    const typed = session.inputs.map(({ name, dtype }) => {
      const tensor = feeds[name] as HostTensor;
      return [name, dtype === 'float32' ? toSingle(tensor) : tensor] as const;
    });
    return await session.run(Object.fromEntries(typed), ['L', ...wrt.map(gradientName)]);
  } finally {
    await session.close();
  }
}

const toSingle = (tensor: HostTensor): HostTensor =>
  tensor.dtype === 'float64'
    ? { ...tensor, dtype: 'float32', data: Float32Array.from(tensor.data as Float64Array) }
    : tensor;

/** Numbers that float32 has exactly, so that both models get the same. */
const rounded = (tensor: HostTensor): HostTensor =>
  tensor.dtype === 'float64'
    ? { ...tensor, data: Float64Array.from(tensor.data as Float64Array, Math.fround) }
    : tensor;

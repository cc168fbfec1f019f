import { type HostTensor, type Model, PareError } from '@pare/core';
import { kernels } from '../kernels/index.js';
import { OBSERVED, type Observation, observing, reductionsOf } from './calibration-graph.js';
import type { Calibration } from './calibration-result.js';

/** How one pass over the data is made and read. */
export interface Pass {
  model(model: Model): Model;
  readonly fetches: readonly string[];
  consume(outputs: Readonly<Record<string, HostTensor>>): void;
}

/** Ranges only: everything is reduced inside the graph. */
export function reductionPass(observations: readonly Observation[], calibration: Calibration): Pass {
  return {
    model: (model) => observing(model, [], observations),
    fetches: [OBSERVED],
    consume: (outputs) => {
      for (const [{ tensor }, sample] of reductions(outputs, observations)) {
        calibration.tensors.get(tensor)?.observeRange(...extremes(sample));
        calibration.channels.get(tensor)?.observe(sample);
      }
    },
  };
}

/** Histograms: the activations themselves come out; per-channel numbers are still reduced inside. */
export function histogramPass(observations: readonly Observation[], calibration: Calibration): Pass {
  const names = [...calibration.tensors.keys()];
  const perChannel = observations.filter(({ channels }) => channels);
  const k = kernels();
  return {
    model: (model) => observing(model, names, perChannel),
    fetches: perChannel.length > 0 ? [...names, OBSERVED] : names,
    consume: (outputs) => {
      for (const name of names) {
        const { data, dtype } = outputs[name] as HostTensor;
        if (!(data instanceof Float32Array)) {
          throw new PareError('unsupported', `Activation "${name}" is ${dtype}; only float32 can be calibrated.`);
        }
        calibration.tensors.get(name)?.observe(k, data);
      }
      for (const [{ tensor }, sample] of reductions(outputs, perChannel)) {
        calibration.channels.get(tensor)?.observe(sample);
      }
    },
  };
}

/** One sample of an activation: the numbers of each channel, or of all of it. */
interface Reduced {
  readonly min: Float32Array;
  readonly max: Float32Array;
  readonly mean: Float32Array;
}

/** Takes the output `OBSERVED` apart. */
function* reductions(
  outputs: Readonly<Record<string, HostTensor>>,
  observations: readonly Observation[],
): Generator<[Observation, Reduced]> {
  let at = 0;
  for (const observation of observations) {
    const all = outputs[OBSERVED]?.data as Float32Array;
    const channels = observation.channels?.count ?? 1;
    const parts = reductionsOf(observation).map((_, i) => all.subarray(at + i * channels, at + (i + 1) * channels));
    at += parts.length * channels;
    const [max, mean, min = new Float32Array(channels)] = parts as [Float32Array, Float32Array, Float32Array?];
    yield [observation, { min, max, mean }];
  }
}

/** The extremes over all channels; NaN when the tensor holds one, which only the mean shows. */
function extremes({ min, max, mean }: Reduced): [min: number, max: number] {
  let lo = Number.POSITIVE_INFINITY;
  let hi = Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (let c = 0; c < max.length; c++) {
    lo = Math.min(lo, min[c] as number);
    hi = Math.max(hi, max[c] as number);
    sum += mean[c] as number;
  }
  return Number.isNaN(sum) ? [sum, sum] : [lo, hi];
}

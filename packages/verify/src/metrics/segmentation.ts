import { type HostTensor, PareError, tensorText, toNumbers } from '@pare/core';
import { badLabel, defineMetric, type Metric, outputNamed } from './metric.js';

export interface MeanIouOptions {
  /** Output with logits [classes, H, W] or class numbers [H, W]. Default: the first. */
  readonly output?: string;
  /** Label of pixels that do not count. Default 255. */
  readonly ignore?: number;
  /** Axis of the classes in the logits. Default 0 (NCHW without the batch). */
  readonly axis?: 0 | -1;
}

/** Of one sample: class -> pixels in truth and answer, in truth or answer. */
type Overlaps = ReadonlyMap<number, readonly [number, number]>;

/**
 * Mean over the classes of intersection over union, pixels of all samples together (the PASCAL VOC measure). The label is a
 * tensor [H, W] of class numbers. Classes that neither truth nor answer names are left out.
 */
export function meanIou(options: MeanIouOptions = {}): Metric<Overlaps> {
  const name = 'mean IoU';
  const { ignore = 255, axis = 0 } = options;
  return defineMetric<Overlaps>({
    name,
    higherIsBetter: true,
    format: 'percent',
    score(outputs, sample) {
      const label = sample.label as HostTensor | undefined;
      if (!label?.dims || !label.data) return badLabel(name, sample, 'a tensor of class numbers');
      const truth = toNumbers(label);
      const answer = classMap(outputNamed(outputs, options.output, name), axis);
      if (answer.length !== truth.length) {
        throw new PareError(
          'bad-data',
          `Metric "${name}": ${sample.id ?? 'a sample'} has a mask of ${truth.length} pixels, the model answers ${answer.length}.`,
        );
      }
      const overlaps = new Map<number, [number, number]>();
      const entry = (c: number): [number, number] => {
        let found = overlaps.get(c);
        if (!found) {
          found = [0, 0];
          overlaps.set(c, found);
        }
        return found;
      };
      for (let i = 0; i < truth.length; i++) {
        const t = truth[i] as number;
        if (t === ignore) continue;
        const a = answer[i] as number;
        entry(t)[1]++;
        if (a === t) entry(t)[0]++;
        else entry(a)[1]++;
      }
      return overlaps;
    },
    reduce(samples) {
      const total = new Map<number, [number, number]>();
      for (const overlaps of samples) {
        for (const [c, [intersection, union]] of overlaps) {
          const sum = total.get(c) ?? [0, 0];
          total.set(c, [sum[0] + intersection, sum[1] + union]);
        }
      }
      let sum = 0;
      for (const [intersection, union] of total.values()) sum += intersection / union;
      return sum / total.size;
    },
  });
}

/** Class number of each pixel. */
function classMap(tensor: HostTensor, axis: 0 | -1): ArrayLike<number> {
  const dims = axis === 0 && tensor.dims[0] === 1 && tensor.dims.length === 3 ? tensor.dims.slice(1) : tensor.dims;
  const values = toNumbers(tensor);
  if (dims.length === 2) return values;
  if (dims.length !== 3) {
    throw new PareError(
      'bad-option',
      `Mean IoU needs logits [classes, H, W] or class numbers [H, W]; the output is ${tensorText(tensor)} a sample.`,
    );
  }
  const classes = dims.at(axis) as number;
  const pixels = values.length / classes;
  const [classStep, pixelStep] = axis === 0 ? [pixels, 1] : [1, classes];
  const out = new Int32Array(pixels);
  for (let p = 0; p < pixels; p++) {
    let best = 0;
    for (let c = 1; c < classes; c++) {
      const at = p * pixelStep;
      if ((values[at + c * classStep] as number) > (values[at + best * classStep] as number)) best = c;
    }
    out[p] = best;
  }
  return out;
}

import { PareError } from '@pare/core';
import {
  type CalibrationMethod,
  type CalibrationOptions,
  rangeOf,
  type StatisticsData,
  TensorStatistics,
} from './calibration/index.js';
import type { CalibrationKey } from './calibration-key.js';
import type { QuantizationTarget, RealRange } from './params.js';

/** What calibration knows of each channel of an activation. */
export class ChannelStatistics {
  samples = 0;
  readonly min: Float32Array;
  readonly max: Float32Array;
  /** Mean over all samples, each of which weighs the same whatever its size. */
  readonly mean: Float64Array;

  constructor(readonly channels: number) {
    this.min = new Float32Array(channels).fill(Number.POSITIVE_INFINITY);
    this.max = new Float32Array(channels).fill(Number.NEGATIVE_INFINITY);
    this.mean = new Float64Array(channels);
  }

  /** Adds one sample: extremes and mean of each channel. */
  observe({ min, max, mean }: Readonly<Record<'min' | 'max' | 'mean', Float32Array>>): void {
    this.samples++;
    for (let c = 0; c < this.channels; c++) {
      this.min[c] = Math.min(this.min[c] as number, min[c] as number);
      this.max[c] = Math.max(this.max[c] as number, max[c] as number);
      this.mean[c]! += ((mean[c] as number) - (this.mean[c] as number)) / this.samples;
    }
  }

  toJSON(): ChannelData {
    const { samples, min, max, mean } = this;
    return { samples, min: [...min], max: [...max], mean: [...mean] };
  }

  static fromJSON(data: ChannelData): ChannelStatistics {
    const statistics = new ChannelStatistics(data.mean.length);
    statistics.samples = data.samples;
    for (const field of ['min', 'max', 'mean'] as const) statistics[field].set(data[field]);
    return statistics;
  }
}

/** ChannelStatistics as plain data. */
export interface ChannelData {
  readonly samples: number;
  readonly min: readonly number[];
  readonly max: readonly number[];
  readonly mean: readonly number[];
}

/** Calibration as plain data, for a cache. */
export interface CalibrationData {
  readonly format: 'pare-calibration-1';
  readonly key: CalibrationKey;
  readonly method: CalibrationMethod;
  readonly options: CalibrationOptions;
  readonly samples: number;
  readonly tensors: Readonly<Record<string, StatisticsData>>;
  readonly channels: Readonly<Record<string, ChannelData>>;
}

/** What calibration learnt of a model's activations. Its size depends on the model, not on the number of samples. */
export class Calibration {
  readonly tensors = new Map<string, TensorStatistics>();
  readonly channels = new Map<string, ChannelStatistics>();
  samples = 0;

  /** `refused` says in what the cache that was offered differs, when it was not used. */
  constructor(
    readonly method: CalibrationMethod,
    readonly options: CalibrationOptions = {},
    readonly key?: CalibrationKey | undefined,
    readonly refused?: string | undefined,
  ) {}

  /**
   * The range to quantize of the activation `name`.
   * @throws PareError `bad-option` when it was not observed.
   */
  range(name: string, target: QuantizationTarget): RealRange {
    const statistics = this.tensors.get(name);
    if (statistics) return rangeOf(statistics, this.method, target, this.options);
    throw new PareError(
      'bad-option',
      `The calibration has not observed "${name}": calibrate the same model with the same selection of nodes.`,
    );
  }

  /** The same statistics read by another method. Histogram methods need histograms. */
  with(method: CalibrationMethod, options: CalibrationOptions): Calibration {
    const other = new Calibration(method, options, this.key);
    for (const [name, s] of this.tensors) other.tensors.set(name, s);
    for (const [name, c] of this.channels) other.channels.set(name, c);
    other.samples = this.samples;
    return other;
  }

  /** @throws PareError `bad-option` when it was made without a key (see `CalibrateOptions.keyed`). */
  toJSON(): CalibrationData {
    const { key, method, options, samples } = this;
    if (!key) throw new PareError('bad-option', 'Calibrate with `keyed: true` to keep the result as a cache.');
    const entries = <T, U>(map: ReadonlyMap<string, T>, data: (item: T) => U): Record<string, U> =>
      Object.fromEntries([...map].map(([name, item]) => [name, data(item)]));
    return {
      format: 'pare-calibration-1',
      key,
      method,
      options,
      samples,
      tensors: entries(this.tensors, (s) => s.toJSON()),
      channels: entries(this.channels, (s) => s.toJSON()),
    };
  }

  /**
   * The calibration that `toJSON` wrote.
   * @throws PareError `bad-file` when the data is something else.
   */
  static fromJSON(data: CalibrationData): Calibration {
    if (data?.format !== 'pare-calibration-1') {
      throw new PareError(
        'bad-file',
        'This is not a calibration cache of this version; delete it and calibrate again.',
      );
    }
    const calibration = new Calibration(data.method, data.options, data.key);
    calibration.samples = data.samples;
    for (const [name, s] of Object.entries(data.tensors)) calibration.tensors.set(name, TensorStatistics.fromJSON(s));
    for (const [name, c] of Object.entries(data.channels))
      calibration.channels.set(name, ChannelStatistics.fromJSON(c));
    return calibration;
  }
}

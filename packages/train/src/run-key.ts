import { PareError } from '@pare/core';
import { crc32 } from './crc32.js';
import type { Schedule } from './schedule/index.js';
import type { TrainOptions } from './train-options.js';

/** What a run found out about its options. */
interface RunFacts {
  /** Of the parameters that it starts from. */
  readonly fingerprint: string;
  readonly samples: number;
  readonly data: string;
  readonly batchSize: number;
  readonly optimizer: string;
  readonly schedule: Schedule;
}

/** Steps whose learning rates stand for the whole schedule. */
const RATES = Array.from({ length: 64 }, (_, i) => i * 17);

/** What must be equal for a run that is resumed to give the bits of one that was not interrupted. */
export function runKey(options: TrainOptions, { fingerprint, schedule, ...facts }: RunFacts): string {
  const { epochs, seed = 1, shards = 1, threads = 1, loss } = options;
  const { accumulate, clipNorm, average, augment, batchNorm, rates } = options;
  return JSON.stringify({
    model: fingerprint,
    ...facts,
    loss: loss.name,
    'learning rates': crc32(new Uint8Array(Float64Array.from(RATES, schedule).buffer)),
    epochs,
    seed,
    shards,
    threads,
    accumulate,
    clipNorm,
    average,
    augment,
    batchNorm,
    rates,
  });
}

/** @throws PareError `bad-option` with what differs between the run of a checkpoint and this one. */
export function refuseOtherRun(theirKey: string, ourKey: string): void {
  const [theirs, ours] = [JSON.parse(theirKey), JSON.parse(ourKey)] as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];
  const differs = Object.keys(ours).find((key) => JSON.stringify(theirs[key]) !== JSON.stringify(ours[key]));
  if (differs === undefined) return;
  throw new PareError(
    'bad-option',
    `The checkpoint is of another run: its ${differs} is ${JSON.stringify(theirs[differs])}, and now ` +
      `${JSON.stringify(ours[differs])}. Resume with the same options, or start anew without --resume.`,
  );
}

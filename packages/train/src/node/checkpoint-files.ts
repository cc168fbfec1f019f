import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PareError } from '@pare/core';
import { FileSource, ioError, StagedFile } from '@pare/core/node';
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from '../checkpoint.js';
import type { CheckpointStore } from '../train-options.js';

const NAME = /^step-(\d+)\.checkpoint$/;
/** What a process that was killed while it wrote leaves behind (core's StagedFile). */
const LEFTOVER = /^\.step-\d+\.checkpoint\..*\.tmp$/;

/**
 * The checkpoints of one run in `folder`, as `train` takes them: `checkpoints: { store: checkpointFolder('run', console.warn) }`.
 * @param warn is told of each checkpoint that is damaged and passed over.
 */
export function checkpointFolder(folder: string, warn: (message: string) => void): CheckpointStore {
  return {
    save: async (checkpoint) => {
      await saveCheckpoint(folder, checkpoint);
    },
    latest: async () => (await latestCheckpoint(folder, warn))?.checkpoint,
  };
}

/**
 * Writes `checkpoint` into `folder`, which is made when it is missing, as `step-<number>.checkpoint`. The file appears whole or
 * not at all, also when the process is killed or the power fails. The one before it is kept, and any other is removed: at every
 * moment there is a whole one. One run a folder.
 * @returns the path.
 * @throws PareError `io` when the disk is full or the folder cannot be written, with all earlier checkpoints intact; `aborted`.
 */
export async function saveCheckpoint(folder: string, checkpoint: Checkpoint, signal?: AbortSignal): Promise<string> {
  const { step } = checkpoint;
  const path = join(folder, `step-${String(step).padStart(9, '0')}.checkpoint`);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw ioError(cause, folder, 'written');
  }
  const file = new StagedFile(path);
  await file.write(encodeCheckpoint(checkpoint), signal);
  file.commit();

  const others = stepsIn(folder).filter((other) => other.step !== step);
  const before = others.find((other) => other.step < step);
  for (const other of others) if (other !== before) rmSync(other.path, { force: true });
  for (const name of readdirSync(folder)) if (LEFTOVER.test(name)) rmSync(join(folder, name), { force: true });
  return path;
}

/**
 * The checkpoint of the highest step in `folder` that is whole, or undefined when there is none. One that is truncated, damaged
 * or cannot be read is passed over, and `warn` is told.
 * @throws PareError `io` when the folder is there and cannot be read.
 */
export async function latestCheckpoint(
  folder: string,
  warn: (message: string) => void,
): Promise<{ path: string; checkpoint: Checkpoint } | undefined> {
  for (const { path } of stepsIn(folder)) {
    try {
      const source = new FileSource(path);
      return { path, checkpoint: decodeCheckpoint(await source.read(0, source.size), `"${path}"`) };
    } catch (error) {
      if (!(error instanceof PareError)) throw error;
      warn(error.message);
    }
  }
  return undefined;
}

/** The checkpoints in `folder`, whole or not, the highest step first. */
function stepsIn(folder: string): { step: number; path: string }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw ioError(cause, folder, 'read');
  }
  return names
    .flatMap((name) => {
      const [, digits] = NAME.exec(name) ?? [];
      return digits ? [{ step: Number(digits), path: join(folder, name) }] : [];
    })
    .sort((a, b) => b.step - a.step);
}

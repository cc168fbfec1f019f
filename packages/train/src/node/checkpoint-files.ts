import { accessSync, constants, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
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
    makeFolder(folder);
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

/**
 * Refuses a folder that no checkpoint can be saved to, before there is something to lose. Leaves nothing behind.
 * @throws PareError `io`.
 */
export function checkCheckpointFolder(folder: string): void {
  try {
    const made = makeFolder(folder);
    if (made === undefined) accessSync(folder, constants.W_OK | constants.X_OK);
    else rmSync(made, { recursive: true });
  } catch (cause) {
    throw ioError(cause, folder, 'written');
  }
}

/** Removes the checkpoints of a run that is over, and their folder when nothing else is in it. */
export function removeCheckpoints(folder: string): void {
  for (const { path } of stepsIn(folder)) rmSync(path, { force: true });
  try {
    rmdirSync(folder);
  } catch {
    // It is not there, or holds files of others.
  }
}

/**
 * Makes `folder` and what is missing above it; returns the outermost one that was made. (With `recursive`, Node's mkdir never comes
 * back where making a folder fails with ENOENT though its parent is there, as below /proc.)
 */
function makeFolder(folder: string): string | undefined {
  const there = statSync(folder, { throwIfNoEntry: false });
  if (there?.isDirectory()) return undefined;
  if (there)
    throw new PareError('io', `"${folder}" cannot be written: it is a file, not a folder. Nothing was changed.`);
  const parent = dirname(folder);
  const outer = parent === folder ? undefined : makeFolder(parent);
  mkdirSync(folder);
  return outer ?? folder;
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

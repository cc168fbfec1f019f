import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { PareError } from '@pare/core';
import { type TrainedModel, trainingEvidence } from '@pare/optimize';
import { renderTraining, type TrainingEvidence, type TrainingPage } from '@pare/verify';
import { hostInfo } from '@pare/verify/node';
import type { CommandContext } from './command.js';

/** Writes a page to `path`, or nothing where there is none. @throws PareError `io`. */
export async function writeReport(path: string | undefined, page: () => string): Promise<void> {
  if (path === undefined) return;
  await writeFile(path, page()).catch((cause: Error) => {
    throw new PareError('io', `"${path}" cannot be written: ${cause.message}`, { cause });
  });
}

/** A run of training by the name of the file that came of it. */
export const trainingOf = (file: string, run: Omit<TrainedModel, 'name'>): TrainingEvidence =>
  trainingEvidence({ ...run, name: basename(file) });

/** Writes how a command trained to `path`, if there is one. */
export function writeTrainingReport(
  path: string | undefined,
  page: Pick<TrainingPage, 'before' | 'after' | 'training' | 'facts'>,
  { commandLine, engine }: CommandContext,
): Promise<void> {
  return writeReport(path, () =>
    renderTraining({
      ...page,
      command: commandLine,
      host: hostInfo(engine().name),
      createdAt: new Date().toISOString(),
    }),
  );
}

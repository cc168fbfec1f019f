import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { createProgress, type Progress } from './progress.js';
import type { Terminal } from './terminal.js';

/** Exit codes of every command. */
export const EXIT = { ok: 0, gatesFail: 1, badInput: 2 } as const;

/** What a command gets beside its arguments. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly progress: Progress;
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
  /** What was typed, ready to be typed again. */
  readonly commandLine: string;
  /** The engine, started when first asked for and closed after the command. */
  engine(): Engine;
}

/** After an abort, time for the engine to remove its temporary files, ms; its native call cannot be waited for. */
const ABORT_MS = 400;

/** Runs `work` with a context and closes what it opened. */
export async function withContext<T>(
  terminal: Terminal,
  args: readonly string[],
  signal: AbortSignal,
  work: (context: CommandContext) => Promise<T>,
): Promise<T> {
  const progress = createProgress(terminal);
  let engine: Engine | undefined;
  const context: CommandContext = {
    terminal,
    progress,
    signal,
    commandLine: ['npx', 'pare', ...args].map(quoted).join(' '),
    engine() {
      engine ??= nodeEngine();
      return engine;
    },
  };
  try {
    return await work(context);
  } finally {
    progress.stop();
    const closing = engine?.close();
    await (signal.aborted ? Promise.race([closing, sleep(ABORT_MS)]) : closing);
  }
}

/** An argument as a POSIX shell takes it. */
function quoted(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`;
}

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
  /** The engine, started when first asked for and closed after the command. */
  engine(): Engine;
}

/** Runs `work` with a context and closes what it opened. */
export async function withContext<T>(
  terminal: Terminal,
  signal: AbortSignal,
  work: (context: CommandContext) => Promise<T>,
): Promise<T> {
  const progress = createProgress(terminal);
  let engine: Engine | undefined;
  const context: CommandContext = {
    terminal,
    progress,
    signal,
    engine() {
      engine ??= nodeEngine();
      return engine;
    },
  };
  try {
    return await work(context);
  } finally {
    progress.end();
    // After an abort a run may still be inside native code: nobody waits for it.
    const closing = engine?.close();
    if (!signal.aborted) await closing;
  }
}

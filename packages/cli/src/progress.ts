import type { Terminal } from './terminal.js';

/** Where the work stands: `done` of `total` steps of `stage`. */
export type OnProgress = (stage: string, done: number, total: number) => void;

export interface Progress {
  readonly update: OnProgress;
  /** Prints a line above the bar. */
  note(text: string): void;
  /** Clears the bar. */
  end(): void;
}

const REDRAW_MS = 80;
const BAR = 24;

/**
 * Shows one stage at a time: on a terminal as a bar with the time left, else as one line a finished stage.
 * `now` is a clock in ms.
 */
export function createProgress(terminal: Terminal, now: () => number = Date.now): Progress {
  let stage = '';
  let started = 0;
  let drawn = 0;
  let shown = false;
  let finished = true;

  const clear = (): void => {
    if (shown) process.stderr.write('\r\u001b[2K');
    shown = false;
  };
  const finish = (): void => {
    if (finished) return;
    finished = true;
    clear();
    terminal.err(`${terminal.style('green', '✓')} ${stage} ${terminal.style('dim', duration(now() - started))}`);
  };

  return {
    update(next, done, total) {
      if (next !== stage) {
        finish();
        stage = next;
        started = now();
        drawn = 0;
        finished = false;
      }
      const complete = total > 0 && done >= total;
      if (terminal.live && (complete || now() - drawn >= REDRAW_MS)) {
        drawn = now();
        clear();
        process.stderr.write(line(stage, done, total, now() - started, terminal).slice(0, terminal.columns + 40));
        shown = true;
      }
      if (complete) finish();
    },
    note(text) {
      clear();
      terminal.err(text);
    },
    end() {
      finish();
      clear();
    },
  };
}

/** `Measuring latency  ━━━━━━━━────────  12/40  8 s left`. */
function line(stage: string, done: number, total: number, elapsed: number, terminal: Terminal): string {
  if (total <= 0) return `  ${stage} ${terminal.style('dim', duration(elapsed))}`;
  const share = Math.min(1, done / total);
  const filled = Math.round(share * BAR);
  const bar = terminal.style('cyan', '━'.repeat(filled)) + terminal.style('dim', '─'.repeat(BAR - filled));
  const left = share > 0 && elapsed > 500 ? `${duration((elapsed / share) * (1 - share))} left` : '';
  return `  ${stage}  ${bar}  ${done}/${total}  ${terminal.style('dim', left)}`;
}

/** `340 ms`, `12 s`, `3 min 20 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}

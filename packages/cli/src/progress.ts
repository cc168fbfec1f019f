import type { Terminal } from './terminal.js';

/** Where the work stands. */
export interface Step {
  /** Name of the stage, as people say it: `Measuring latency`. */
  readonly stage: string;
  readonly done: number;
  /** Undefined or NaN when nobody knows. */
  readonly total?: number | undefined;
  /** What is worked on: a variant, a part. */
  readonly what?: string | undefined;
}

export interface Progress {
  update(step: Step): void;
  /** The stage has ended, and the bar goes. */
  end(): void;
  /** The stage was broken off: the bar goes, and nothing is said of it. */
  stop(): void;
}

const REDRAW_MS = 100;
const BAR = 24;
const CLEAR = '\r\u001b[2K';
const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';

/**
 * Shows one stage at a time: on a terminal as a line that moves, with the time left; then, and elsewhere, as one line a finished
 * stage. `now` is a clock in ms.
 */
export function createProgress(terminal: Terminal, now: () => number = Date.now): Progress {
  let step: Step | undefined;
  let started = 0;
  let timer: NodeJS.Timeout | undefined;
  let drawn = false;

  const clear = (): void => {
    if (drawn) terminal.draw(CLEAR);
    drawn = false;
  };
  const draw = (): void => {
    if (!step || !terminal.live) return;
    terminal.draw(`${CLEAR}${line(step, now() - started, terminal)}`);
    drawn = true;
  };
  const stop = (): void => {
    clearInterval(timer);
    clear();
    step = undefined;
  };
  const end = (): void => {
    const ended = step;
    stop();
    if (ended) terminal.err(`${terminal.errStyle('green', '✓')} ${summary(ended, now() - started, terminal)}`);
  };

  return {
    update(next) {
      if (next.stage !== step?.stage) {
        end();
        started = now();
        step = next;
        // By a clock of its own: a single step may last, and the time left runs on.
        if (terminal.live) timer = setInterval(draw, REDRAW_MS).unref();
        draw();
      }
      step = next;
    },
    end,
    stop,
  };
}

/** `⠙ Measuring latency  ━━━━━━━━────────  12/40  8 s left  int8-dynamic`, cut to the terminal's width. */
function line({ stage, done, total, what = '' }: Step, elapsed: number, { errStyle, errColumns }: Terminal): string {
  const spinner = SPINNER[Math.floor(elapsed / REDRAW_MS) % SPINNER.length] ?? '';
  const pieces: [style: 'cyan' | 'dim' | undefined, text: string][] = [
    ['cyan', spinner],
    [undefined, ` ${stage}  `],
  ];
  if (total !== undefined && total > 0) {
    const share = Math.min(1, done / total);
    const filled = Math.round(share * BAR);
    pieces.push(['cyan', '━'.repeat(filled)], ['dim', '─'.repeat(BAR - filled)]);
    pieces.push([undefined, `  ${done}/${total}`]);
    if (share > 0 && share < 1 && elapsed > 500) {
      pieces.push(['dim', `  ${duration((elapsed / share) * (1 - share))} left`]);
    }
  } else {
    pieces.push(['dim', duration(elapsed)]);
  }
  if (what !== '') pieces.push(['dim', `  ${what}`]);
  // One column stays free: some terminals wrap when the last one is filled.
  let room = Math.max(0, errColumns - 1);
  return pieces
    .map(([style, text]) => {
      const cut = [...text].slice(0, room).join('');
      room -= [...cut].length;
      return style ? errStyle(style, cut) : cut;
    })
    .join('');
}

const STAGE_WIDTH = 28;

/** `Measuring latency             15 s`. */
function summary({ stage }: Step, elapsed: number, { errStyle }: Terminal): string {
  return `${stage.padEnd(STAGE_WIDTH)} ${errStyle('dim', duration(elapsed))}`;
}

/** `340 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  return min < 60 ? `${min} min ${s % 60} s` : `${Math.floor(min / 60)} h ${min % 60} min`;
}

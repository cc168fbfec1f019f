import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createProgress, duration } from './progress.js';
import { showStages } from './stages.js';
import type { Terminal } from './terminal.js';

let now = 0;
let drawn: string[];
let lines: string[];
beforeEach(() => {
  vi.useFakeTimers();
  [now, drawn, lines] = [0, [], []];
});
afterEach(() => vi.useRealTimers());

const terminal = (options: Partial<Terminal> = {}): Terminal => ({
  out: () => undefined,
  err: (text) => void lines.push(text),
  draw: (text) => void drawn.push(text),
  live: true,
  columns: 80,
  errColumns: 80,
  style: (_, text) => text,
  errStyle: (_, text) => text,
  ...options,
});

const CLEAR = '\r\u001b[2K';
function pass(ms: number): void {
  now += ms;
  vi.advanceTimersByTime(ms);
}

it('draws a bar with the time left, which runs on while a step lasts', () => {
  const progress = createProgress(terminal(), () => now);
  progress.update({ stage: 'Scoring', done: 0, total: 40 });
  pass(10_000);
  progress.update({ stage: 'Scoring', done: 10, total: 40, what: 'int8' });
  pass(100);
  expect(drawn.at(-1)).toBe(`${CLEAR}⠙ Scoring  ${'━'.repeat(6)}${'─'.repeat(18)}  10/40  30 s left  int8`);
  pass(2000);
  expect(drawn.at(-1)).toContain('36 s left');
  progress.end();
  expect(drawn.at(-1)).toBe(CLEAR);
  expect(lines).toEqual([`✓ ${'Scoring'.padEnd(28)} 12 s`]);
  const before = drawn.length;
  pass(1000);
  expect(drawn.length).toBe(before);
});

it('shows elapsed time where nobody knows the end, and never wraps', () => {
  const progress = createProgress(terminal({ errColumns: 30 }), () => now);
  progress.update({ stage: 'Simplifying', done: 3, total: Number.NaN });
  pass(1500);
  expect(drawn.at(-1)).toBe(`${CLEAR}⠴ Simplifying  2 s`);
  progress.update({ stage: 'Simplifying', done: 3, total: 4, what: 'x'.repeat(100) });
  pass(100);
  expect(drawn.at(-1)?.length).toBe(CLEAR.length + 29);
  progress.stop();
  expect(lines).toEqual([]);
});

it('is a line a finished stage where nobody watches; stages that have nothing to do are not told', () => {
  const progress = createProgress(terminal({ live: false }), () => now);
  const show = showStages(progress);
  show({ stage: 'simplify', done: 0, total: undefined });
  now = 300;
  show({ stage: 'saturation', done: 0, total: 0 });
  show({ stage: 'performance', done: 1, total: 2, what: 'latency' });
  now = 75_300;
  show({ stage: 'performance', done: 1, total: 2, what: 'throughput' });
  progress.end();
  progress.end();
  expect(drawn).toEqual([]);
  expect(lines.map((line) => line.replace(/ {2,}/, ' | '))).toEqual([
    '✓ Simplifying | 300 ms',
    '✓ Measuring latency | 1 min 15 s',
    '✓ Measuring throughput | 0 ms',
  ]);
});

it.each([
  [7.4, '7 ms'],
  [59_600, '1 min 0 s'],
  [12_000, '12 s'],
  [7_500_000, '2 h 5 min'],
])('%d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

import { styleText } from 'node:util';

/** Where a command writes. Results go to `out`; progress and complaints to `err`, so that `--json | jq` works. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Progress may redraw its line: standard error is a terminal and no machine is reading. */
  readonly live: boolean;
  readonly columns: number;
  /** Colours, or the text as it is where nobody would see them. */
  readonly style: (kind: Style, text: string) => string;
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** The process's own terminal. Honours NO_COLOR, FORCE_COLOR and CI. */
export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  const colour = env.FORCE_COLOR ? true : !env.NO_COLOR && Boolean(stdout.isTTY);
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    live: Boolean(stderr.isTTY) && !env.CI && env.TERM !== 'dumb',
    columns: stdout.columns ?? stderr.columns ?? 100,
    style: (kind, text) => (colour ? styleText(kind, text) : text),
  };
}

import { styleText } from 'node:util';

/** Where a command writes. Results go to `out`; progress and complaints to `err`, so that `--json | jq` works. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Standard error without a line end: for what redraws itself. */
  draw(text: string): void;
  /** Progress may redraw its line: standard error is a terminal. */
  readonly live: boolean;
  /** Width for tables on `out`. */
  readonly columns: number;
  /** Width of the line that progress redraws. */
  readonly errColumns: number;
  /** Colours for `out`, or the text as it is where nobody would see them. */
  readonly style: Paint;
  /** The same for `err`. */
  readonly errStyle: Paint;
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
export type Paint = (kind: Style, text: string) => string;

const DEFAULT_COLUMNS = 100;

/** The process's own terminal. Honours NO_COLOR, FORCE_COLOR, CI and TERM=dumb. */
export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  const paint = (stream: NodeJS.WriteStream): Paint => {
    const coloured = hasColours(stream, env);
    return (kind, text) => (coloured ? styleText(kind, text, { validateStream: false }) : text);
  };
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    draw: (text) => void stderr.write(text),
    live: Boolean(stderr.isTTY) && !env.CI && env.TERM !== 'dumb',
    columns: stdout.columns ?? DEFAULT_COLUMNS,
    get errColumns() {
      return stderr.columns ?? DEFAULT_COLUMNS;
    },
    style: paint(stdout),
    errStyle: paint(stderr),
  };
}

function hasColours(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): boolean {
  if (env.FORCE_COLOR) return !['0', 'false'].includes(env.FORCE_COLOR);
  return !env.NO_COLOR && env.TERM !== 'dumb' && Boolean(stream.isTTY);
}

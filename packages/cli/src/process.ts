import { complain, main } from './main.js';
import { processTerminal } from './terminal.js';

/** The command line of this process: its arguments, its exit code, and what only a process can suffer. */
export async function runProcess(): Promise<void> {
  const terminal = processTerminal();
  // The reader has left (`pare inspect model.onnx | head -1`): the work goes on, its words go nowhere.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') return;
      process.exitCode = 2;
      if (stream !== process.stderr) terminal.err(`error: the output cannot be written: ${error.message}.`);
    });
  }
  // Node would exit with 1, which here means that the gates fail.
  process.on('uncaughtException', (error) => process.exit(complain(error, terminal)));
  const exitCode = await main(process.argv.slice(2), terminal);
  process.exitCode ??= exitCode;
}

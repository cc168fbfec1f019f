import { BundleError } from '@pare/bundle';
import { PareError } from '@pare/core';
import { visible } from '@pare/verify';
import { Command, CommanderError } from 'commander';
import { type CommandContext, EXIT, withContext } from './command.js';
import { bench } from './commands/bench.js';
import { distill } from './commands/distill.js';
import { finetune } from './commands/finetune.js';
import { inspect } from './commands/inspect.js';
import { optimize } from './commands/optimize.js';
import { prune } from './commands/prune.js';
import { quantize } from './commands/quantize.js';
import { simplify } from './commands/simplify.js';
import { verify } from './commands/verify.js';
import { interruptible } from './interrupt.js';
import { processTerminal, type Terminal } from './terminal.js';
import { version } from './version.js';

/** How a command file adds itself: it declares its arguments, and hands the work to `run`, which returns the exit code. */
export type Register = (
  program: Command,
  run: (work: (context: CommandContext) => Promise<number>) => Promise<void>,
) => void;

const COMMANDS: readonly Register[] = [inspect, simplify, quantize, prune, finetune, distill, verify, bench, optimize];

/**
 * Runs the command line `args` (without node and script) and returns the exit code: 0 the gates hold, 1 they do not, 2 bad
 * usage or input.
 */
export async function main(args: readonly string[], terminal: Terminal = processTerminal()): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = new Command('pare')
    .description('Takes a trained ONNX model to production: smaller, faster, proven.')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error:/, `${terminal.errStyle('red', 'error')}:`)),
    })
    .addHelpText('after', '\nStart with:\n  $ pare optimize model.onnx --data val.npz --max-drop 1% -o dist/')
    .showHelpAfterError('(--help shows the options)');
  for (const register of COMMANDS) {
    register(program, async (work) => {
      const interrupted = (): void => {
        if (terminal.live) terminal.draw('\r\u001b[2K');
        terminal.err('Stopped.');
      };
      exitCode = await interruptible((signal) => withContext(terminal, args, signal, work), interrupted);
    });
  }
  for (const command of program.commands) command.exitOverride().copyInheritedSettings(program);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
    return complain(error, terminal);
  }
}

/** One clear sentence for what the user can mend; the stack for what only we can. Returns the exit code. */
export function complain(error: unknown, terminal: Terminal): number {
  const title = terminal.errStyle('red', 'error');
  if (error instanceof PareError || error instanceof BundleError) {
    if (error.code !== 'aborted') terminal.err(`${title}: ${visible(error.message)}`);
    return EXIT.badInput;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  terminal.err(`${title}: this is a bug in Pare; please report it with the lines below.\n${text}`);
  return EXIT.badInput;
}

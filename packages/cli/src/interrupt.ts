/** Time that cleaning up may take after Ctrl-C before the process ends anyway, ms. */
const GRACE_MS = 700;

/**
 * Runs `work` with a signal that fires on SIGINT and SIGTERM. After an interrupt, waits briefly for `work` to remove what it
 * half wrote, then ends the process by the same signal: a runtime inside native code can be neither interrupted nor torn down,
 * and a shell expects it so.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let interrupted: NodeJS.Signals | undefined;
  const die = (signal: NodeJS.Signals): void => {
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onSignal);
    process.kill(process.pid, signal);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (interrupted) {
      die(signal);
      return;
    }
    interrupted = signal;
    process.stderr.write('\r\u001b[2KStopped.\n');
    controller.abort(signal);
    setTimeout(die, GRACE_MS, signal).unref();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } finally {
    if (interrupted) die(interrupted);
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onSignal);
  }
}

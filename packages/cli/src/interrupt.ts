/** Time that cleaning up may take after Ctrl-C before the process ends anyway, ms. */
const GRACE_MS = 700;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const satisfies NodeJS.Signals[];

/**
 * Runs `work` with a signal that fires on SIGINT, SIGTERM and SIGHUP; `onInterrupt` is called then. Waits briefly for `work` to
 * remove what it half wrote, then ends the process by the same signal: a runtime inside native code can be neither interrupted
 * nor torn down, and a shell expects it so. A second signal ends it at once.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  onInterrupt: () => void = () => undefined,
): Promise<T> {
  const controller = new AbortController();
  let interrupted: NodeJS.Signals | undefined;
  const unlisten = (): void => {
    for (const signal of SIGNALS) process.removeListener(signal, onSignal);
  };
  const die = (signal: NodeJS.Signals): void => {
    unlisten();
    process.kill(process.pid, signal);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (interrupted) {
      die(signal);
      return;
    }
    interrupted = signal;
    onInterrupt();
    controller.abort(signal);
    setTimeout(die, GRACE_MS, signal).unref();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    if (interrupted) die(interrupted);
    else unlisten();
  }
}

/** Runs the command line `args` (without node and script) and returns the exit code. */
export async function main(_args: readonly string[]): Promise<number> {
  return 0;
}

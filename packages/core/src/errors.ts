/** What went wrong, as a stable word that programs can test. */
export type ErrorCode =
  | 'bad-file' // the bytes are not what they should be: not ONNX, truncated, hostile
  | 'bad-model' // a well-formed file that is not a valid graph
  | 'bad-data' // samples, labels or metrics that cannot be used
  | 'bad-option' // an option or an argument of the caller
  | 'unsupported' // valid, but Pare or the target cannot do it
  | 'io' // the file system refused: missing, not writable, full
  | 'engine' // the runtime refused or failed
  | 'aborted'; // the caller's AbortSignal fired

/**
 * The one error class of Pare. `message` is a sentence that names the node, tensor or file and says what to do;
 * the command line prints it as it is.
 */
export class PareError extends Error {
  override readonly name = 'PareError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Throws a PareError with code `aborted` when `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new PareError('aborted', 'Stopped on request.', {
      cause: signal.reason,
    });
}

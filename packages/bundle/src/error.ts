/** What went wrong, in the same words as everywhere in Pare. */
export type BundleErrorCode = 'bad-file' | 'bad-option' | 'io' | 'aborted';

/**
 * The one error of this package. `message` is a sentence that names the file or the place in the manifest and says what to
 * do. A class of its own because a bundle is read where nothing else of Pare is: in a page, in a server.
 */
export class BundleError extends Error {
  override readonly name = 'BundleError';
  /** Where in the manifest, as a JSON path (`$.variants[1].model.sha256`); null when it is not about one place in it. */
  readonly jsonPath: string | null;

  constructor(
    readonly code: BundleErrorCode,
    message: string,
    options: { jsonPath?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.jsonPath = options.jsonPath ?? null;
  }
}

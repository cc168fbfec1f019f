import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError } from '../error.js';
import type { FileRef, Manifest, Variant } from '../manifest.js';
import { filesOf, MANIFEST_FILE } from '../manifest.js';
import { finishCommit } from './commit.js';
import { hashFile, realPathInside, throwIfAborted } from './hash.js';
import { readManifest } from './read-manifest.js';
import { isMissing, systemError } from './system-error.js';

/** A bundle on disk whose manifest is valid and whose files are there with the right sizes. */
export interface Bundle {
  readonly folder: string;
  readonly manifest: Manifest;
  /**
   * A variant by its id; without one the recommended.
   * @throws BundleError `bad-option` that lists the ids
   */
  variant(id?: string): Variant;
  /** Where a file of the bundle lies on disk. */
  pathOf(file: FileRef): string;
  /**
   * Reads every file and compares its SHA-256.
   * @throws BundleError `bad-file` that names the first file that differs, `aborted`
   */
  verify(options?: VerifyOptions): Promise<void>;
}

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  /** Told after at most 1 MiB each. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly total: number }) => void;
}

/**
 * Opens the bundle in a folder: reads and validates the manifest, checks that each file is inside the folder (links that lead
 * out of it are refused) and has its size. Finishes a write that was interrupted after its commit.
 * @throws BundleError `bad-file` when it is not a whole bundle, `io` when it cannot be read
 */
export async function openBundle(folder: string): Promise<Bundle> {
  await finishCommit(folder);
  const manifest = await readManifest(folder);
  if (manifest === null)
    throw new BundleError(
      'io',
      `There is no bundle in ${folder}: it has no ${MANIFEST_FILE}. Give the output folder of pare optimize.`,
    );
  for (const file of filesOf(manifest)) await checkPresent(folder, file);
  return {
    folder,
    manifest,
    variant: (id = manifest.recommended) => findVariant(manifest, id),
    pathOf: (file) => join(folder, file.path),
    verify: (options = {}) => verify(folder, manifest, options),
  };
}

function findVariant({ variants, name }: Manifest, id: string): Variant {
  const found = variants.find((v) => v.id === id);
  if (found) return found;
  const ids = variants.map((v) => v.id).join(', ');
  throw new BundleError('bad-option', `The bundle ${name} has no variant "${id}"; it has ${ids}.`);
}

async function checkPresent(folder: string, { path, bytes }: FileRef): Promise<void> {
  const file = join(folder, path);
  try {
    const real = await realPathInside(folder, path);
    if (real === null)
      throw new BundleError('bad-file', `${file} is a link that leads out of the bundle; put the file itself there.`);
    const found = await stat(real);
    if (!found.isFile()) throw new BundleError('bad-file', `${file} is not a file, although the manifest says so.`);
    if (found.size !== bytes)
      throw new BundleError(
        'bad-file',
        `${file} has ${found.size} bytes, and ${bytes} by the manifest. Copy the bundle again.`,
      );
  } catch (error) {
    if (isMissing(error))
      throw new BundleError('bad-file', `${file} is missing, although the manifest names it. Copy the bundle again.`);
    throw systemError(`read ${file}`, error);
  }
}

async function verify(folder: string, manifest: Manifest, { signal, onProgress }: VerifyOptions): Promise<void> {
  const files = filesOf(manifest);
  const total = files.reduce((sum, f) => sum + f.bytes, 0);
  let bytes = 0;
  const onBytes = (n: number): void => {
    bytes += n;
    onProgress?.({ bytes, total });
  };
  for (const { path, sha256 } of files) {
    throwIfAborted(signal);
    const file = join(folder, path);
    const found = await hashFile(file, { signal, onBytes }).catch((error: unknown) => {
      throw systemError(`read ${file}`, error);
    });
    if (found !== sha256)
      throw new BundleError(
        'bad-file',
        `${file} is damaged: its SHA-256 is ${found}, and ${sha256} by the manifest. Copy the bundle again.`,
      );
  }
}

import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError } from '../error.js';
import type { Manifest } from '../manifest.js';
import { MANIFEST_FILE } from '../manifest.js';
import { validateManifest } from '../validate.js';
import { isMissing, systemError } from './system-error.js';

/** A manifest with a label for each of a million classes fits; a hostile one does not take the memory. */
const MAX_BYTES = 64 << 20;

/**
 * Reads and validates `manifest.json` of a folder; null when there is none.
 * @throws BundleError `bad-file` when it is something else, `io` when it cannot be read
 */
export async function readManifest(folder: string): Promise<Manifest | null> {
  const file = join(folder, MANIFEST_FILE);
  const text = await read(file);
  if (text === null) return null;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new BundleError('bad-file', `${file} is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  try {
    return validateManifest(json);
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    const message = error.message.replace(MANIFEST_FILE, file);
    throw new BundleError(error.code, message, error.jsonPath === null ? {} : { jsonPath: error.jsonPath });
  }
}

async function read(file: string): Promise<string | null> {
  try {
    await using handle = await open(file);
    const { size } = await handle.stat();
    if (size > MAX_BYTES) throw new BundleError('bad-file', `${file} is too large for a manifest: ${size} bytes.`);
    return await handle.readFile('utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw systemError(`read ${file}`, error);
  }
}

import { mkdir, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BundleError } from '../error.js';
import type { Manifest } from '../manifest.js';
import { filesOf, MANIFEST_FILE } from '../manifest.js';
import { pathKey } from '../path.js';
import { isUnchanged } from './hash.js';
import { kindOf, obstacle } from './place.js';
import { readManifest } from './read-manifest.js';
import { isMissing, systemError } from './system-error.js';

/**
 * A folder inside the bundle that holds the next one, complete: its files under their paths, and its manifest. Renaming the
 * staging folder to this name is the moment at which the new bundle is written. What follows (moving each file to its place,
 * the manifest last) can be interrupted and finished by anyone, as often as needed: a write-ahead log whose records are files.
 */
export const COMMIT = '.pare-commit';

/** Finishes a commit that was interrupted, or does nothing. Two processes may do it at once. */
export async function finishCommit(folder: string): Promise<void> {
  const commit = join(folder, COMMIT);
  if ((await kindOf(commit)) !== 'folder') return;
  try {
    const next = await readManifest(commit);
    // The manifest moves last: without one, everything has moved and only empty folders are left.
    if (next !== null) {
      const previous = await readManifest(folder).catch(() => null);
      for (const { path } of filesOf(next)) await move(folder, path);
      if (previous !== null) await removeObsolete(folder, previous, next);
      await move(folder, MANIFEST_FILE);
    }
    await removeEmptyFolders(commit);
  } catch (error) {
    throw systemError(`finish the interrupted writing of the bundle in ${folder}`, error);
  }
}

/** Files of the previous bundle that the next one does not have, and that nobody has changed. */
async function removeObsolete(folder: string, previous: Manifest, next: Manifest): Promise<void> {
  const kept = new Set(filesOf(next).map((f) => pathKey(f.path)));
  for (const file of filesOf(previous)) {
    if (kept.has(pathKey(file.path)) || (await obstacle(folder, file.path)) !== null) continue;
    if (!(await isUnchanged(folder, file))) continue;
    await unlink(join(folder, file.path)).catch(ignoreMissing);
    let parent = dirname(file.path);
    while (parent !== '.' && (await removedEmpty(join(folder, parent)))) parent = dirname(parent);
  }
}

/** Only what is empty: another process may have put its own commit there meanwhile. */
async function removeEmptyFolders(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeEmptyFolders(join(folder, entry.name));
  await removedEmpty(folder);
}

/** Removes a folder unless something is in it; tells whether it did. */
export function removedEmpty(folder: string): Promise<boolean> {
  return rmdir(folder).then(
    () => true,
    () => false,
  );
}

async function move(folder: string, path: string): Promise<void> {
  const blocked = (await obstacle(folder, path)) ?? (await obstacle(join(folder, COMMIT), path));
  if (blocked !== null)
    throw new BundleError(
      'io',
      `${blocked.path} is a ${blocked.kind}, and the bundle needs a folder there. Move it away.`,
    );
  const target = join(folder, path);
  await mkdir(dirname(target), { recursive: true });
  await rename(join(folder, COMMIT, path), target).catch(ignoreMissing);
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}

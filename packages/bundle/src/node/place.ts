import { lstat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isMissing } from './system-error.js';

export type Kind = 'file' | 'folder' | 'link';

/** What is at a path, without following a link; null when nothing is. */
export async function kindOf(path: string): Promise<Kind | null> {
  try {
    const stat = await lstat(path);
    return stat.isSymbolicLink() ? 'link' : stat.isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/**
 * The first thing between `folder` and the file `path` in it that is not a folder, or null when the way is free. Writing or
 * deleting beyond a link would happen somewhere else.
 */
export async function obstacle(folder: string, path: string): Promise<{ path: string; kind: Kind } | null> {
  const parents: string[] = [];
  for (let parent = dirname(path); parent !== '.'; parent = dirname(parent)) parents.unshift(parent);
  for (const parent of parents) {
    const kind = await kindOf(join(folder, parent));
    if (kind === null) return null;
    if (kind !== 'folder') return { path: join(folder, parent), kind };
  }
  return null;
}

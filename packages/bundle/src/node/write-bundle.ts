import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { completeManifest, type ManifestDraft } from '../create.js';
import { BundleError } from '../error.js';
import type { FileRef, Manifest } from '../manifest.js';
import { filesOf, MANIFEST_FILE } from '../manifest.js';
import { validateManifest } from '../validate.js';
import { COMMIT, finishCommit, removedEmpty } from './commit.js';
import { isUnchanged, readChunks, throwIfAborted } from './hash.js';
import { kindOf, obstacle } from './place.js';
import { readManifest } from './read-manifest.js';
import { systemError } from './system-error.js';

/** Where the bytes of a file come from: text or bytes in memory, or a file to copy. */
export type BundleSource = string | Uint8Array | { readonly file: string };

export interface WriteBundleOptions {
  /** The manifest, with a path in place of each file; sizes and hashes are filled in while writing. */
  readonly manifest: ManifestDraft<string>;
  /** For each path that the manifest names, its contents. */
  readonly files: Readonly<Record<string, BundleSource>>;
  readonly signal?: AbortSignal;
  /** Told after each chunk, with what was written so far. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Writes a bundle into a folder, atomically: whenever the process is killed, `openBundle` finds the old bundle whole or the
 * new one whole. Replaces the bundle that is there: files of the old one that the new one does not have are removed. Files
 * that are not the bundle's, or were changed since it was written, are never touched: where one stands in the way, nothing
 * is written.
 * @throws BundleError `bad-file` for an invalid manifest, `bad-option` when `files` and manifest disagree, `io` when the
 *   system refuses or a foreign file is in the way, `aborted`
 */
export async function writeBundle(folder: string, options: WriteBundleOptions): Promise<Manifest> {
  const draft = completeManifest(options.manifest);
  const paths = filesOf(draft);
  checkSources(paths, options.files);
  // Everything about the manifest that does not depend on the contents is known to be right before a byte is written.
  validateManifest(withRefs(draft, (path) => ({ path, bytes: 0, sha256: '0'.repeat(64) })));

  const created = await createFolder(folder);
  const staging = join(folder, `${STAGING}${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`);
  try {
    await finishCommit(folder);
    await removeDeadStagings(folder);
    await checkWay(folder, paths);
    const refs = new Map<string, FileRef>();
    for (const path of paths) refs.set(path, await stage(staging, path, options.files[path]!, options));
    const manifest = validateManifest(withRefs(draft, (path) => refs.get(path)!));
    await stage(staging, MANIFEST_FILE, `${JSON.stringify(manifest, null, 2)}\n`, {});
    throwIfAborted(options.signal);
    await commit(folder, staging);
    return manifest;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    if (created !== undefined) await removeEmpty(folder, created);
    throw systemError(`write the bundle to ${folder}`, error);
  }
}

/**
 * Whether a bundle may be written into a folder, to ask before the work that makes its files: the folder is there or can be made,
 * is writable, holds no `manifest.json` of something else, and no file of others at one of `paths`. Leaves nothing behind.
 * @throws BundleError `io` that says what is in the way
 */
export async function checkBundleFolder(folder: string, paths: readonly string[] = []): Promise<void> {
  const created = await createFolder(folder);
  const probe = join(folder, `${STAGING}${hostname()}-${process.pid}-probe`);
  try {
    await finishCommit(folder);
    await checkWay(folder, paths);
    await mkdir(probe);
  } catch (error) {
    throw systemError(`write to ${folder}`, error);
  } finally {
    await removedEmpty(probe);
    if (created !== undefined) await removeEmpty(folder, created);
  }
}

/**
 * Makes a folder and those above it that are missing; gives the topmost that it made. One by one, because `mkdir` of Node 20 with
 * `recursive` never returns where making a folder answers that its parent does not exist (below /proc).
 */
async function createFolder(folder: string): Promise<string | undefined> {
  const missing: string[] = [];
  try {
    for (let at = resolve(folder); (await stat(at).catch(nullIfMissing)) === null; at = dirname(at))
      missing.unshift(at);
    for (const path of missing) await mkdir(path).catch(ignoreExisting);
    if (!(await stat(folder)).isDirectory()) throw new BundleError('io', `${folder} is a file, not a folder.`);
  } catch (error) {
    throw systemError(`create the folder ${folder}`, error);
  }
  return missing[0];
}

function nullIfMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

/** Removes the folders from `folder` up to `created`, as far as they are empty. */
async function removeEmpty(folder: string, created: string): Promise<void> {
  const top = resolve(created);
  for (let at = resolve(folder); at.startsWith(top); at = dirname(at)) if (!(await removedEmpty(at))) return;
}

const STAGING = '.pare-staging-';

function withRefs(draft: ReturnType<typeof completeManifest<string>>, ref: (path: string) => FileRef): Manifest {
  return {
    ...draft,
    variants: draft.variants.map((v) => ({ ...v, model: ref(v.model), externalData: v.externalData.map(ref) })),
    evidence: draft.evidence === null ? null : ref(draft.evidence),
    documents: draft.documents.map(ref),
  };
}

function checkSources(paths: readonly string[], files: Readonly<Record<string, BundleSource>>): void {
  for (const path of paths)
    if (!Object.hasOwn(files, path))
      throw new BundleError(
        'bad-option',
        `The manifest names ${JSON.stringify(path)}, and \`files\` has no contents for it.`,
      );
  for (const path of Object.keys(files))
    if (!paths.includes(path))
      throw new BundleError(
        'bad-option',
        `\`files\` has ${JSON.stringify(path)}, which the manifest does not name: add it to \`documents\`.`,
      );
}

/** Refuses to write where a file that is not ours would be lost, or where a link leads somewhere else. */
async function checkWay(folder: string, paths: readonly string[]): Promise<void> {
  const previous = await readManifest(folder).catch((error: unknown) => {
    if (error instanceof BundleError && error.code === 'bad-file')
      throw new BundleError(
        'io',
        `${error.message} Pare does not overwrite it: choose another folder, or move it away.`,
        { cause: error },
      );
    throw error;
  });
  const ours = new Map((previous === null ? [] : filesOf(previous)).map((f) => [f.path, f]));
  for (const path of paths) {
    if (path === MANIFEST_FILE && previous !== null) continue;
    const blocked = await obstacle(folder, path);
    if (blocked !== null) throw inTheWay(blocked.path, `is a ${blocked.kind}`);
    const target = join(folder, path);
    const found = await kindOf(target);
    if (found === null) continue;
    if (found !== 'file') throw inTheWay(target, `is a ${found}`);
    const old = ours.get(path);
    if (old === undefined) throw inTheWay(target, 'exists and is not part of a bundle there');
    if (!(await isUnchanged(folder, old))) throw inTheWay(target, 'was changed since its bundle was written');
  }
}

function inTheWay(path: string, what: string): BundleError {
  return new BundleError('io', `${path} ${what}. Nothing was written: choose another folder, or move it away.`);
}

/** Writes one file below the staging folder, down to the disk. */
async function stage(
  staging: string,
  path: string,
  source: BundleSource,
  { signal, onBytes }: Pick<WriteBundleOptions, 'signal' | 'onBytes'>,
): Promise<FileRef> {
  const target = join(staging, path);
  const hash = createHash('sha256');
  let bytes = 0;
  await mkdir(dirname(target), { recursive: true });
  await using handle = await open(target, 'wx');
  for await (const chunk of chunksOf(source, signal)) {
    throwIfAborted(signal);
    hash.update(chunk);
    await handle.writeFile(chunk);
    bytes += chunk.length;
    onBytes?.(chunk.length);
  }
  await handle.sync();
  return { path, bytes, sha256: hash.digest('hex') };
}

async function* chunksOf(source: BundleSource, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  if (typeof source === 'string') yield new TextEncoder().encode(source);
  else if (source instanceof Uint8Array) yield source;
  else {
    try {
      yield* readChunks(source.file, { signal });
    } catch (error) {
      throw systemError(`read ${source.file}`, error);
    }
  }
}

async function commit(folder: string, staging: string): Promise<void> {
  try {
    await rename(staging, join(folder, COMMIT));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EPERM')
      throw new BundleError('io', `Another process is writing a bundle to ${folder}. Wait for it, then run again.`, {
        cause: error,
      });
    throw error;
  }
  await syncFolder(folder);
  await finishCommit(folder);
}

/** Makes a rename last through a loss of power, where the system can. */
async function syncFolder(folder: string): Promise<void> {
  try {
    await using handle = await open(folder);
    await handle.sync();
  } catch {
    // Windows does not open folders; its file systems log renames themselves.
  }
}

/** Stagings of processes of this host that are no more. */
async function removeDeadStagings(folder: string): Promise<void> {
  const prefix = `${STAGING}${hostname()}-`;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number(name.slice(prefix.length).split('-')[0]);
    if (Number.isSafeInteger(pid) && pid > 0 && pid !== process.pid && !isAlive(pid))
      await rm(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

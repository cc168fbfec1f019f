import { readFile, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Dataset, datasetOf, PareError, type Sample } from '@pare/core';
import { FileSource } from '@pare/core/node';
import { jsonlDataset } from '../data/jsonl.js';
import { npyDataset, npzDataset } from '../data/npz.js';
import { type Preprocessing, parsePreprocessing } from '../data/preprocessing.js';
import { imageCsv, imageFolder } from './image-folder.js';
import { preprocessDataset } from './preprocess.js';

export interface OpenDataOptions {
  /** How images become inputs: the preprocessing, or the path of its JSON. Default: a file of these names beside the images. */
  readonly preprocess?: Preprocessing | string | undefined;
  /** Loads a module; give one that understands TypeScript. Default: Node's own import. */
  readonly importModule?: (path: string) => Promise<unknown>;
}

/** Looked for in a folder of images. */
const PREPROCESSING_FILES = ['preprocessing.json', 'preprocessor_config.json'];

type Opener = (path: string, spec: Preprocessing | undefined, options: OpenDataOptions) => Promise<Dataset>;

/** Arrays that hold images go through the preprocessing when one is given. */
const arrays =
  (open: (path: string) => Promise<Dataset>): Opener =>
  async (path, spec) => {
    const dataset = { ...(await open(path)), name: basename(path) };
    return spec ? preprocessDataset(dataset, spec) : dataset;
  };

const OPENERS: Readonly<Record<string, Opener>> = {
  '.npz': arrays((path) => npzDataset(new FileSource(path))),
  '.npy': arrays((path) => npyDataset(new FileSource(path))),
  '.jsonl': arrays(async (path) => jsonlDataset(await readText(path), basename(path))),
  '.ndjson': arrays(async (path) => jsonlDataset(await readText(path), basename(path))),
  '.csv': async (path, spec) => imageCsv(path, spec ?? {}),
  ...Object.fromEntries(['.ts', '.mts', '.js', '.mjs'].map((extension) => [extension, moduleData])),
};

/**
 * Opens the dataset at `path` by what it is: `.npz`, `.npy`, `.jsonl`, a `.csv` that lists images, a folder of images, or a
 * TypeScript or JavaScript module that exports samples.
 * @throws PareError `io` when it is missing, `bad-option` when Pare does not know the kind, `bad-file`, `bad-data`.
 */
export async function openData(path: string, options: OpenDataOptions = {}): Promise<Dataset> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such file or folder' : cause.message;
    throw new PareError('io', `"${path}" cannot be read: ${why}.`, { cause });
  });
  const spec = await preprocessingOf(path, found.isDirectory(), options.preprocess);
  if (found.isDirectory()) return imageFolder(path, spec ?? {});
  const opener = OPENERS[extname(path).toLowerCase()];
  if (opener) return opener(path, spec, options);
  throw new PareError(
    'bad-option',
    `"${path}" is no dataset that Pare knows. Give ${Object.keys(OPENERS).join(', ')}, or a folder of images.`,
  );
}

async function preprocessingOf(
  path: string,
  isFolder: boolean,
  given: Preprocessing | string | undefined,
): Promise<Preprocessing | undefined> {
  if (typeof given === 'object') return parsePreprocessing(given);
  if (typeof given === 'string') return readPreprocessing(given);
  for (const name of isFolder ? PREPROCESSING_FILES : []) {
    const file = join(path, name);
    const exists = await stat(file).then(
      () => true,
      () => false,
    );
    if (exists) return readPreprocessing(file);
  }
  return undefined;
}

/**
 * Reads a preprocessing file: Pare's own keys, or a `preprocessor_config.json`.
 * @throws PareError `io`, `bad-option` naming the file.
 */
export async function readPreprocessing(path: string): Promise<Preprocessing> {
  const text = await readText(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PareError('bad-option', `${path} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  return parsePreprocessing(json, basename(path));
}

/** A module's `default` or `data`: a Dataset, an array of samples, or a function that gives an iterable of them. */
async function moduleData(path: string, spec: Preprocessing | undefined, options: OpenDataOptions): Promise<Dataset> {
  const load = options.importModule ?? ((file: string) => import(pathToFileURL(file).href) as Promise<unknown>);
  const name = basename(path);
  const loaded = await load(resolve(path)).catch((cause: unknown) => {
    if (cause instanceof PareError) throw cause;
    throw new PareError('bad-data', `${name} cannot be loaded: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  });
  const module = loaded as { default?: unknown; data?: unknown };
  const dataset = asDataset(module?.default ?? module?.data ?? loaded, name);
  return spec ? preprocessDataset(dataset, spec) : dataset;
}

function asDataset(exported: unknown, name: string): Dataset {
  if (Array.isArray(exported)) return datasetOf(exported as Sample[], { name });
  if (typeof exported === 'function') {
    return datasetOf(exported as () => AsyncIterable<Sample>, { name });
  }
  if (typeof exported === 'object' && exported !== null) {
    if ('name' in exported && Symbol.asyncIterator in exported) return exported as Dataset;
    if (Symbol.asyncIterator in exported || Symbol.iterator in exported) {
      return datasetOf(exported as AsyncIterable<Sample>, { name });
    }
  }
  throw new PareError(
    'bad-data',
    `${name} must export (as default or "data") an array of samples { inputs, label }, or a function that gives an iterable of them.`,
  );
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new PareError('io', `"${path}" cannot be read: ${cause.message}`, { cause });
  });
}

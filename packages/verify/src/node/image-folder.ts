import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import type { Dataset, Sample } from '@pare/core';
import { type HostTensor, PareError } from '@pare/core';
import { parseCsv } from '../data/csv.js';
import { sha256 } from '../data/hash.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { imageToTensor } from './preprocess.js';

const IMAGE = /\.(jpe?g|png|webp|gif|tiff?|avif|heif|svg)$/i;

/** Columns of a CSV that name the file and the truth. */
const FILE_COLUMNS = ['file', 'path', 'image', 'filename', 'file_name'];
const LABEL_COLUMNS = ['label', 'labels', 'class', 'text'];

/** An image file and its truth. */
interface ListedImage {
  readonly file: string;
  readonly label?: number | string;
}

/**
 * A dataset of the images in `folder`: one folder a class (classes numbered in the order of their names), or images without
 * labels lying in the folder itself.
 * @throws PareError `io`, `bad-data` when there are no images.
 */
export async function imageFolder(folder: string, spec: Preprocessing): Promise<Dataset> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new PareError('io', `"${folder}" cannot be read: ${cause.message}`, { cause });
  });
  const hidden = (name: string): boolean => name.startsWith('.');
  const classes = entries.filter((e) => e.isDirectory() && !hidden(e.name)).map((e) => e.name);
  const images: ListedImage[] = [];
  const names: string[] = [];
  for (const name of classes.sort()) {
    const files = (await readdir(join(folder, name), { recursive: true })).filter((f) => IMAGE.test(f)).sort();
    if (files.length === 0) continue;
    for (const file of files) images.push({ file: join(folder, name, file), label: names.length });
    names.push(name);
  }
  const loose = entries.filter((e) => e.isFile() && IMAGE.test(e.name) && !hidden(e.name)).map((e) => e.name);
  if (images.length > 0 && loose.length > 0) {
    throw new PareError(
      'bad-data',
      `"${folder}" has folders of classes and also images beside them ("${loose[0]}"). Put every image into its class.`,
    );
  }
  for (const name of loose.sort()) images.push({ file: join(folder, name) });
  if (images.length === 0) {
    throw new PareError(
      'bad-data',
      `"${folder}" has no images. Put them into one folder a class (jpg, png, webp, ...).`,
    );
  }
  return listedImages(images, spec, basename(folder), names.length > 0 ? names : undefined);
}

/**
 * A dataset of the images that a CSV lists, paths relative to it: a column `file` (or `path`, `image`, `filename`) and
 * optionally `label` (or `class`, `text`).
 * @throws PareError `io`, `bad-data` naming the CSV.
 */
export async function imageCsv(file: string, spec: Preprocessing): Promise<Dataset> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new PareError('io', `"${file}" cannot be read: ${cause.message}`, { cause });
  });
  const rows = parseCsv(text, basename(file));
  const columns = Object.keys(rows[0] ?? {});
  const fileColumn = FILE_COLUMNS.find((c) => columns.includes(c));
  const labelColumn = LABEL_COLUMNS.find((c) => columns.includes(c));
  if (rows.length === 0) throw new PareError('bad-data', `${basename(file)} lists no images.`);
  if (fileColumn === undefined) {
    throw new PareError(
      'bad-data',
      `${basename(file)} has the columns ${columns.join(', ')}; one must name the image files: ${FILE_COLUMNS.join(', ')}.`,
    );
  }
  const images = rows.map((row) => {
    const path = row[fileColumn] as string;
    const found = isAbsolute(path) ? path : join(dirname(file), path);
    return { file: found, ...(labelColumn === undefined ? {} : { label: row[labelColumn] as string }) };
  });
  return listedImages(images, spec, basename(file), undefined);
}

function listedImages(
  images: readonly ListedImage[],
  spec: Preprocessing,
  name: string,
  classes: readonly string[] | undefined,
): Dataset {
  const at = async (index: number): Promise<Sample> => {
    const { file, label } = images[index] as ListedImage;
    const inputs: Record<string, HostTensor> = { [spec.input ?? 'image']: await imageToTensor(file, spec) };
    return { inputs, id: basename(file), ...(label === undefined ? {} : { label }) };
  };
  return {
    name,
    size: images.length,
    classes,
    at,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < images.length; i++) yield await at(i);
    },
    async *fingerprints() {
      for (const { file, label } of images) {
        const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
          throw new PareError('io', `"${file}" cannot be read: ${cause.message}`, { cause });
        });
        yield { hash: await sha256(bytes), label };
      }
    },
  };
}

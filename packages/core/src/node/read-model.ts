import fs from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { PareError } from '../errors.js';
import type { ExternalFiles } from '../external-data.js';
import type { Model } from '../ir/model.js';
import { parseModel } from '../read.js';
import { FileSource } from './file.js';

/**
 * Reads the ONNX model at `path`. Its weights, and those in files beside it (external data), stay on disk until they are
 * asked for; the files stay open meanwhile, and may be replaced or removed.
 * @throws PareError `io` when a file is missing or cannot be read; what `parseModel` throws: `bad-file`, `bad-model` (also for
 *   external data that leads out of the model's folder), `unsupported`, `aborted`.
 */
export async function readModel(
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Model> {
  const source = new FileSource(path);
  return parseModel(source, { externalFiles: filesBeside(path), signal: options.signal });
}

/**
 * The files in the folder of the model at `path`. Symbolic links are followed, but only to where the model itself is: its folder,
 * or that of the file which `path` is a link to (the cache of Hugging Face keeps both as links into one folder).
 */
function filesBeside(path: string): ExternalFiles {
  const roots = [fs.realpathSync(dirname(path)), dirname(fs.realpathSync(path))];
  return (location) => {
    const file = join(dirname(path), location);
    if (!fs.existsSync(file)) return undefined;
    const real = fs.realpathSync(file);
    if (!roots.some((root) => isInside(real, root))) {
      throw new PareError(
        'bad-model',
        `The external data "${location}" is a link to "${real}", outside the model's folder. Refused: a model could read any file this way.`,
      );
    }
    return new FileSource(file);
  };
}

function isInside(file: string, folder: string): boolean {
  const way = relative(folder, file);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`);
}

import { BundleError } from '../error.js';

const CAUSES: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of its path is a file, not a folder',
  EISDIR: 'it is a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENAMETOOLONG: 'the name is too long',
  EMFILE: 'too many files are open',
};

/** What the system refused, as a sentence: `Cannot write dist/model.onnx: the disk is full.` */
export function systemError(action: string, error: unknown): BundleError {
  if (error instanceof BundleError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new BundleError('io', `Cannot ${action}: ${CAUSES[code ?? ''] ?? message}.`, { cause: error });
}

export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

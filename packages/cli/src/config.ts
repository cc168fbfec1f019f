import { access } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PareError } from '@pare/core';
import type { PareConfig } from '@pare/optimize';
import { createJiti } from 'jiti';

const NAMES = ['pare.config.ts', 'pare.config.mts', 'pare.config.js', 'pare.config.mjs'];

export interface LoadedConfig {
  readonly config: PareConfig;
  /** Paths of the configuration are relative to this folder. */
  readonly folder: string;
  readonly file: string;
}

/**
 * The configuration in `file`, or in a `pare.config.*` of the current folder; undefined when there is none.
 * @throws PareError `bad-option` when the file is missing, fails, or exports no configuration.
 */
export async function loadConfig(file?: string): Promise<LoadedConfig | undefined> {
  const path = file === undefined ? await findConfig() : resolve(file);
  if (path === undefined) return undefined;
  const config = (await importModule(path)) as PareConfig | undefined;
  if (typeof config !== 'object' || config === null || typeof config.model !== 'string') {
    throw new PareError(
      'bad-option',
      `${path} must have a default export with a "model": export default defineConfig({ model: ... }).`,
    );
  }
  return { config, folder: dirname(path), file: path };
}

/** Default export of a TypeScript or JavaScript module. @throws PareError `bad-option` with the module's own message. */
export async function importModule(path: string): Promise<unknown> {
  // Pare's own packages are loaded by Node: a second copy would have classes of its own.
  const jiti = createJiti(import.meta.url, {
    nativeModules: ['@pare/core', '@pare/transforms', '@pare/verify', '@pare/optimize', '@pare/bundle'],
  });
  try {
    await access(path);
  } catch (cause) {
    throw new PareError('bad-option', `${path} does not exist or cannot be read.`, { cause });
  }
  try {
    return await jiti.import(path, { default: true });
  } catch (cause) {
    if (cause instanceof PareError) throw cause;
    throw new PareError('bad-option', `${path} cannot be loaded: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

async function findConfig(): Promise<string | undefined> {
  for (const name of NAMES) {
    const path = resolve(name);
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    ) {
      return path;
    }
  }
  return undefined;
}

import { access, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { PareError } from '@pare/core';
import type { PareConfig } from '@pare/optimize';
import type { Jiti } from 'jiti';

const NAMES = ['pare.config.ts', 'pare.config.mts', 'pare.config.js', 'pare.config.mjs'];

/** What each key of the configuration must be. */
const KEYS: Readonly<Record<keyof PareConfig, 'string' | 'number' | 'object' | 'string or object'>> = {
  model: 'string',
  data: 'string or object',
  calibration: 'string or object',
  train: 'string or object',
  trainEpochs: 'number',
  preprocess: 'string',
  metric: 'string or object',
  target: 'string',
  gates: 'object',
  goal: 'string',
  fixShapes: 'object',
  fixDims: 'object',
  output: 'string',
  layout: 'string',
  budgetMs: 'number',
  threads: 'number',
  seed: 'number',
};

export interface LoadedConfig {
  readonly config: PareConfig;
  /** Paths of the configuration are relative to this folder. */
  readonly folder: string;
  /** The file as it is, for whoever wants to repeat the run. */
  readonly text: string;
}

/**
 * The configuration in `file`, or in a `pare.config.*` of the current folder; undefined when there is none.
 * @throws PareError `bad-option` when the file is missing, fails, or exports no configuration.
 */
export async function loadConfig(file?: string): Promise<LoadedConfig | undefined> {
  const path = file === undefined ? await findConfig() : resolve(file);
  if (path === undefined) return undefined;
  const config = await importModule(path);
  checkConfig(config, path);
  return { config, folder: dirname(path), text: await readFile(path, 'utf8') };
}

function checkConfig(config: unknown, path: string): asserts config is PareConfig {
  const fail = (what: string): never => {
    throw new PareError('bad-option', `${path} ${what}`);
  };
  if (typeof config !== 'object' || config === null || !('model' in config)) {
    return fail('must have a default export with a "model": export default defineConfig({ model: ... }).');
  }
  for (const [key, value] of Object.entries(config)) {
    const wanted = Object.hasOwn(KEYS, key) ? KEYS[key as keyof PareConfig] : undefined;
    if (wanted === undefined) fail(`has "${key}", which means nothing. Known are: ${Object.keys(KEYS).join(', ')}.`);
    if (value !== undefined && (value === null || !wanted?.split(' or ').includes(typeof value))) {
      fail(`has a "${key}" that is ${value === null ? 'null' : `a ${typeof value}`}; it must be a ${wanted}.`);
    }
  }
}

/** Default export of a TypeScript or JavaScript module. @throws PareError `bad-option` with the module's own message. */
export async function importModule(file: string): Promise<unknown> {
  const path = resolve(file);
  try {
    await access(path);
  } catch (cause) {
    throw new PareError('bad-option', `${path} does not exist or cannot be read.`, { cause });
  }
  try {
    return await (await typescriptLoader()).import(path, { default: true });
  } catch (cause) {
    if (cause instanceof PareError) throw cause;
    throw new PareError('bad-option', `${path} cannot be loaded: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

const PACKAGES = ['core', 'core/node', 'transforms', 'verify', 'verify/node', 'bundle', 'bundle/node', 'optimize'];

/**
 * A loader that understands TypeScript. Pare's own packages are those of this command, loaded by Node, wherever the module lies:
 * a second copy would have classes of its own.
 */
async function typescriptLoader(): Promise<Jiti> {
  const { createJiti } = await import('jiti');
  const { resolve: own } = createRequire(import.meta.url);
  const names = PACKAGES.map((name) => `@pare/${name}`);
  return createJiti(import.meta.url, {
    alias: Object.fromEntries(names.map((name) => [name, own(name)])),
    nativeModules: names,
  });
}

async function findConfig(): Promise<string | undefined> {
  for (const name of NAMES) {
    const path = resolve(name);
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return undefined;
}

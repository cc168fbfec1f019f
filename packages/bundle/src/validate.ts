import { BundleError } from './error.js';
import type { FileRef, Manifest } from './manifest.js';
import { filesOf, MANIFEST_FILE } from './manifest.js';
import { pathKey, pathProblem } from './path.js';

/** Throws a BundleError when `value`, which stands at `at`, is not what it should be. */
type Rule = (value: unknown, at: string) => void;

const SHA256 = matches(/^[0-9a-f]{64}$/, '64 lower-case hexadecimal digits');
const BYTES = integer('a size in bytes, a whole number of at least 0');
const WORD = matches(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'at most 64 lower-case letters, digits, ".", "_" or "-"');
const TEXT = matches(/^.{1,1024}$/s, 'a text of 1 to 1024 characters');

const FILE: Rule = object({
  path: (value, at) => {
    text(value, at);
    const problem = pathProblem(value as string);
    if (problem !== null)
      throw bad(at, `must be a path inside the bundle, with forward slashes; ${show(value)} is not: ${problem}`);
    if (pathKey(value as string) === MANIFEST_FILE) throw bad(at, `must not be the manifest itself`);
  },
  bytes: BYTES,
  sha256: SHA256,
});

const PORT: Rule = object({
  name: TEXT,
  dtype: matches(/^[a-z][a-z0-9]*(\([a-z0-9(), ]+\))?$/, 'an element type, for example "float32"'),
  dims: nullable(
    list((value, at) => {
      if (value === null || (typeof value === 'string' && value !== '')) return;
      if (!Number.isSafeInteger(value) || (value as number) < 0)
        throw bad(at, `must be a whole number of at least 0, a name, or null for unknown, not ${show(value)}`);
    }),
  ),
});

const VARIANT: Rule = object({
  id: WORD,
  dtype: WORD,
  target: nullable(WORD),
  model: FILE,
  externalData: list(FILE),
  sessionConfig: record(text),
  needs: list(WORD),
  peakBytes: nullable(BYTES),
});

/** The shape, a rule a field. What holds between fields is in `CROSS_RULES`. */
const MANIFEST: Rule = object({
  schema: (value, at) => {
    text(value, at);
    if (/^pare-bundle\/1\.\d+$/.test(value as string)) return;
    if (/^pare-bundle\/\d+\.\d+$/.test(value as string))
      throw bad(at, `is ${show(value)}; this Pare reads pare-bundle/1.x: use a newer one`);
    throw bad(at, `must be "pare-bundle/1.0" or another 1.x, not ${show(value)}: this is not the manifest of a bundle`);
  },
  name: matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'at most 128 letters, digits, ".", "_" or "-"'),
  version: matches(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, 'at most 64 letters, digits, ".", "_", "+" or "-"'),
  tool: object({ name: TEXT, version: TEXT }),
  source: object({ file: nullable(TEXT), bytes: BYTES, sha256: SHA256 }),
  inputs: list(PORT),
  outputs: list(PORT),
  preprocessing: nullable(record(jsonObject)),
  labels: nullable(list(text)),
  variants: list(VARIANT, 1),
  recommended: text,
  evidence: nullable(FILE),
  documents: list(FILE),
});

const CROSS_RULES: readonly ((manifest: Manifest) => void)[] = [
  function namesAreUnique({ inputs, outputs, variants }) {
    unique(inputs, 'name', '$.inputs');
    unique(outputs, 'name', '$.outputs');
    unique(variants, 'id', '$.variants');
  },
  function recommendedExists({ recommended, variants }) {
    if (!variants.some((v) => v.id === recommended))
      throw bad('$.recommended', `is ${show(recommended)}; the variants are ${variants.map((v) => v.id).join(', ')}`);
  },
  function preprocessingNamesInputs({ preprocessing, inputs }) {
    for (const name of Object.keys(preprocessing ?? {}))
      if (!inputs.some((i) => i.name === name))
        throw bad(member('$.preprocessing', name), `is for an input that the model does not have`);
  },
  // Two variants may share a file (weights that both use), but then they must mean the same bytes.
  function filesAgree(manifest) {
    const byKey = new Map<string, FileRef>();
    for (const [at, file] of placesOf(manifest)) {
      const other = byKey.get(pathKey(file.path));
      byKey.set(pathKey(file.path), file);
      if (other === undefined) continue;
      if (other.path !== file.path)
        throw bad(`${at}.path`, `is ${show(file.path)}, and ${show(other.path)} is the same file on some systems`);
      if (other.sha256 !== file.sha256 || other.bytes !== file.bytes)
        throw bad(at, `gives ${show(file.path)} another size or hash than elsewhere in the manifest`);
    }
  },
  function noFileIsAFolder(manifest) {
    const files = new Set(filesOf(manifest).map((f) => pathKey(f.path)));
    for (const [at, { path }] of placesOf(manifest))
      for (let i = path.indexOf('/'); i >= 0; i = path.indexOf('/', i + 1))
        if (files.has(pathKey(path.slice(0, i))))
          throw bad(`${at}.path`, `is in ${show(path.slice(0, i))}, which is a file of the bundle`);
  },
];

/**
 * The manifest that a JSON value is. Unknown fields stay as they are: a newer minor version may have added them.
 * @param json what `JSON.parse` gave; it is not changed
 * @throws BundleError `bad-file` whose `jsonPath` and message tell the first place that is wrong
 */
export function validateManifest(json: unknown): Manifest {
  MANIFEST(json, '$');
  const manifest = json as Manifest;
  for (const rule of CROSS_RULES) rule(manifest);
  return manifest;
}

function* placesOf(manifest: Manifest): Generator<[at: string, file: FileRef]> {
  for (const [i, v] of manifest.variants.entries()) {
    yield [`$.variants[${i}].model`, v.model];
    for (const [j, file] of v.externalData.entries()) yield [`$.variants[${i}].externalData[${j}]`, file];
  }
  if (manifest.evidence !== null) yield ['$.evidence', manifest.evidence];
  for (const [i, file] of manifest.documents.entries()) yield [`$.documents[${i}]`, file];
}

function unique<K extends string>(items: readonly Readonly<Record<K, string>>[], key: K, at: string): void {
  const seen = new Set<string>();
  for (const [i, item] of items.entries()) {
    if (seen.has(item[key])) throw bad(`${at}[${i}].${key}`, `is ${show(item[key])} a second time`);
    seen.add(item[key]);
  }
}

// ---- rules ----

function text(value: unknown, at: string): void {
  if (typeof value !== 'string') throw bad(at, `must be a text, not ${show(value)}`);
}

function matches(pattern: RegExp, what: string): Rule {
  return (value, at) => {
    if (typeof value !== 'string' || !pattern.test(value)) throw bad(at, `must be ${what}, not ${show(value)}`);
  };
}

function integer(what: string): Rule {
  return (value, at) => {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw bad(at, `must be ${what}, not ${show(value)}`);
  };
}

function nullable(rule: Rule): Rule {
  return (value, at) => {
    if (value !== null) rule(value, at);
  };
}

function list(rule: Rule, atLeast = 0): Rule {
  return (value, at) => {
    if (!Array.isArray(value)) throw bad(at, `must be a list, not ${show(value)}`);
    if (value.length < atLeast) throw bad(at, 'must not be empty');
    for (let i = 0; i < value.length; i++) rule(value[i], `${at}[${i}]`);
  };
}

function object(fields: Readonly<Record<string, Rule>>): Rule {
  return (value, at) => {
    if (!isObject(value)) throw bad(at, `must be an object, not ${show(value)}`);
    for (const [key, rule] of Object.entries(fields)) {
      if (!Object.hasOwn(value, key)) throw bad(member(at, key), 'is missing');
      rule(value[key], member(at, key));
    }
  };
}

function record(rule: Rule): Rule {
  return (value, at) => {
    if (!isObject(value)) throw bad(at, `must be an object, not ${show(value)}`);
    for (const [key, item] of Object.entries(value)) rule(item, member(at, key));
  };
}

function jsonObject(value: unknown, at: string): void {
  if (!isObject(value)) throw bad(at, `must be an object, not ${show(value)}`);
  json(value, at, 0);
}

function json(value: unknown, at: string, depth: number): void {
  if (depth > 32) throw bad(at, 'is nested more than 32 levels deep');
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) json(value[i], `${at}[${i}]`, depth + 1);
  } else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) json(item, member(at, key), depth + 1);
  } else throw bad(at, `must be a JSON value, not ${show(value)}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `$.a.b` or, for a key that is no identifier, `$.a["b c"]`. */
function member(at: string, key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${at}.${key}` : `${at}[${JSON.stringify(key)}]`;
}

/** The value in a message: short, whatever it is. */
function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (isObject(value)) return 'an object';
  if (typeof value !== 'string') return typeof value === 'symbol' ? 'a symbol' : String(value).slice(0, 60);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 59)}…` : value);
}

function bad(at: string, what: string): BundleError {
  return new BundleError('bad-file', `${MANIFEST_FILE}: ${at} ${what}.`, { jsonPath: at });
}

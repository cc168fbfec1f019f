import { createHash } from 'node:crypto';
import { posix, win32 } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import schema from '../manifest.schema.json' with { type: 'json' };
import { contents, draft } from '../test/sample.js';
import { createManifest, toBundleName } from './create.js';
import { BundleError } from './error.js';
import { huggingFaceDataPath, huggingFacePath } from './huggingface.js';
import { type FileRef, filesOf, type Manifest } from './manifest.js';
import { pathProblem } from './path.js';
import { validateManifest } from './validate.js';

const sample = createManifest({
  ...draft,
  variants: draft.variants.map((v) => ({ ...v, model: ref(v.model), externalData: (v.externalData ?? []).map(ref) })),
  evidence: ref('evidence.json'),
  documents: [ref('report.html')],
});
const matchesSchema = new Ajv2020({ allErrors: true }).compile(schema);

describe('createManifest', () => {
  it('fills what is left out and survives JSON', () => {
    expect(sample.variants[0]).toEqual({
      id: 'original',
      dtype: 'fp32',
      target: null,
      model: ref('model.onnx'),
      externalData: [],
      sessionConfig: {},
      needs: [],
      peakBytes: null,
    });
    expect(validateManifest(JSON.parse(JSON.stringify(sample)))).toEqual(sample);
    expect(filesOf(sample).map((f) => f.path)).toEqual(Object.keys(contents));
  });

  it('gives what the JSON schema describes', () => {
    expect(matchesSchema(sample), JSON.stringify(matchesSchema.errors)).toBe(true);
  });
});

describe('validateManifest names the place', () => {
  const cases: readonly (readonly [place: string, change: (m: Mutable) => void, says: RegExp])[] = [
    ['$.schema', (m) => set(m, 'schema', 'pare-bundle/2.0'), /this Pare reads pare-bundle\/1\.x/],
    ['$.schema', (m) => set(m, 'schema', 'PWA'), /not the manifest of a bundle/],
    ['$.name', (m) => set(m, 'name', '../etc'), /letters, digits/],
    ['$.labels', (m) => set(m, 'labels', undefined), /is missing/],
    ['$.labels[1]', (m) => set(m, 'labels', ['a', 2]), /must be a text, not 2/],
    ['$.inputs[0].dims[1]', (m) => set(m, 'inputs.0.dims', [1, -1]), /not -1/],
    ['$.inputs[1].name', (m) => set(m, 'inputs', [m.inputs[0], m.inputs[0]]), /a second time/],
    ['$.preprocessing.audio', (m) => set(m, 'preprocessing', { audio: {} }), /an input that the model does not have/],
    ['$.preprocessing.image["a b"]', (m) => set(m, 'preprocessing.image', { 'a b': () => 1 }), /a JSON value/],
    ['$.variants', (m) => set(m, 'variants', []), /must not be empty/],
    ['$.variants[1].id', (m) => set(m, 'variants.1.id', 'original'), /a second time/],
    ['$.variants[1].model.sha256', (m) => set(m, 'variants.1.model.sha256', 'ABC'), /64 lower-case hex.* not "ABC"/],
    ['$.variants[1].model.bytes', (m) => set(m, 'variants.1.model.bytes', 1.5), /not 1\.5/],
    ['$.variants[1].model.path', (m) => set(m, 'variants.1.model.path', '../x.onnx'), /the segment "\.\."/],
    ['$.variants[1].model.path', (m) => set(m, 'variants.1.model.path', 'model.onnx/x'), /is a file of the bundle/],
    ['$.variants[1].model.path', (m) => set(m, 'variants.1.model.path', 'MODEL.onnx'), /the same file on some systems/],
    ['$.variants[1].model', (m) => set(m, 'variants.1.model.path', 'model.onnx'), /another size or hash/],
    ['$.variants[1].sessionConfig.a', (m) => set(m, 'variants.1.sessionConfig', { a: 1 }), /must be a text/],
    ['$.recommended', (m) => set(m, 'recommended', 'q4'), /the variants are original, int8-dynamic/],
    ['$.evidence.path', (m) => set(m, 'evidence.path', 'Manifest.JSON'), /must not be the manifest itself/],
    ['$.documents[0]', (m) => set(m, 'documents', ['report.html']), /must be an object, not "report\.html"/],
  ];
  it.each(cases)('%s', (place, change, says) => {
    const json = structuredClone(sample) as Mutable;
    change(json);
    const error = errorOf(() => validateManifest(json));
    expect(error.jsonPath).toBe(place);
    expect(error.code).toBe('bad-file');
    expect(error.message).toMatch(says);
    expect(error.message).toContain(place);
  });

  it('keeps fields that a newer minor version may have', () => {
    const json = { ...structuredClone(sample), schema: 'pare-bundle/1.7', golden: { image: 'golden.npz' } };
    expect(validateManifest(json)).toEqual(json);
  });

  it('allows two variants to share a file', () => {
    const json = structuredClone(sample) as Mutable;
    set(json, 'variants.0.externalData', [json.variants[1]?.externalData[0]]);
    expect(filesOf(validateManifest(json))).toHaveLength(5);
  });
});

it('mutated manifests give a typed error, or a manifest that the schema allows', () => {
  let refused = 0;
  fc.assert(
    fc.property(fc.array(mutation(), { minLength: 1, maxLength: 3 }), (mutations) => {
      const json = mutations.reduce<unknown>((value, mutate) => mutate(value), structuredClone(sample));
      const allowed = matchesSchema(json);
      try {
        validateManifest(json);
      } catch (error) {
        refused++;
        expect(error).toBeInstanceOf(BundleError);
        expect((error as BundleError).jsonPath).toMatch(/^\$/);
        return;
      }
      expect(allowed, JSON.stringify(matchesSchema.errors)).toBe(true);
    }),
    { seed: 20_260_101, numRuns: 2000 },
  );
  expect(refused).toBeGreaterThan(500);
});

it('no path that passes leads out of the bundle: on POSIX, on Windows, as a URL', () => {
  const part = fc.constantFrom(
    ...[
      '..',
      '.',
      '/',
      '\\',
      '%2e',
      '%2F',
      'a',
      'b.onnx',
      ' ',
      'C:',
      '\0',
      '\t',
      '?',
      '#',
      '~',
      '…',
      'con',
      '//',
      '\ud800',
      'é',
    ],
  );
  let passed = 0;
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const path = parts.join('');
      if (pathProblem(path) !== null) return;
      passed++;
      expect(posix.resolve('/bundle', path)).toBe(`/bundle/${path}`);
      expect(win32.resolve('C:\\bundle', path)).toBe(`C:\\bundle\\${path.replaceAll('/', '\\')}`);
      const url = new URL(path, 'https://host/bundle/manifest.json');
      expect(decodeURIComponent(url.pathname) + url.search + url.hash).toBe(`/bundle/${path}`);
    }),
    { seed: 7, numRuns: 20_000 },
  );
  expect(passed).toBeGreaterThan(300);
});

it.each([
  ['', 'empty'],
  ['/etc/passwd', 'absolute'],
  ['a//b', 'empty segment'],
  ['a/./b', '"."'],
  ['C:/x', '":"'],
  ['a\\b', String.raw`"\\"`],
  ['%2e%2e/x', '"%"'],
  ['aux.onnx', 'device on Windows'],
  ['.pare-commit/x', 'kept for writing'],
  ['x'.repeat(513), '512'],
])('path %j is refused: %s', (path, why) => expect(pathProblem(path)).toContain(why));

it('makes names that a manifest may have', () => {
  expect(toBundleName('Modèle 3.onnx')).toBe('modele-3.onnx');
  expect(toBundleName('../../etc')).toBe('etc');
  expect(toBundleName('模型')).toBe('model');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      validateManifest({ ...sample, name: toBundleName(text) });
    }),
    { seed: 3 },
  );
});

it('names files as a Hugging Face repository does', () => {
  expect(['fp32', 'fp16', 'q8', 'q4', 'bnb4'].map((d) => huggingFacePath(d))).toEqual([
    'onnx/model.onnx',
    'onnx/model_fp16.onnx',
    'onnx/model_quantized.onnx',
    'onnx/model_q4.onnx',
    'onnx/model_bnb4.onnx',
  ]);
  expect(huggingFacePath('toString')).toBeNull();
  expect(huggingFacePath('q4f16', 'decoder_model_merged')).toBe('onnx/decoder_model_merged_q4f16.onnx');
  expect([0, 1].map((i) => huggingFaceDataPath('model.onnx', i))).toEqual(['model.onnx_data', 'model.onnx_data_1']);
});

type Mutable = { -readonly [K in keyof Manifest]: Manifest[K] };

function ref(path: string): FileRef {
  const bytes = contents[path as keyof typeof contents];
  return { path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** Sets `a.0.b` in a JSON value; undefined removes. */
function set(target: object, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() as string;
  const parent = keys.reduce<unknown>((o, k) => (o as Record<string, unknown>)[k], target) as Record<string, unknown>;
  if (value === undefined) delete parent[last];
  else parent[last] = value;
}

function errorOf(f: () => unknown): BundleError {
  try {
    f();
  } catch (error) {
    if (error instanceof BundleError) return error;
  }
  throw new Error('No BundleError was thrown.');
}

/** A change of one place of a JSON tree: removed, replaced, or a character more or less. */
function mutation(): fc.Arbitrary<(value: unknown) => unknown> {
  const replacement = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom('..', '../x', 'a\\b', '', -1, 0.5, 2 ** 53, 'original', [], {}, null, 'pare-bundle/1.1'),
  );
  return fc
    .record({
      pick: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
      kind: fc.constantFrom('remove', 'replace', 'edit'),
      replacement,
    })
    .map(({ pick, kind, replacement: other }) => (root: unknown): unknown => {
      let at = root;
      for (const [depth, n] of pick.entries()) {
        if (typeof at !== 'object' || at === null) return root;
        const parent = at as Record<string, unknown>;
        const keys = Object.keys(parent);
        if (keys.length === 0) return root;
        const key = keys[n % keys.length] as string;
        const child = parent[key];
        if (depth < pick.length - 1 && typeof child === 'object' && child !== null) {
          at = child;
          continue;
        }
        if (kind === 'remove' && !Array.isArray(parent)) delete parent[key];
        else if (kind === 'edit' && typeof child === 'string') parent[key] = n % 2 ? `${child}/` : child.slice(1);
        else parent[key] = other;
        return root;
      }
      return root;
    });
}

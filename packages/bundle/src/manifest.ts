/** Version of the manifest's shape. The minor number grows when fields are added, the major one when their meaning changes. */
export const MANIFEST_SCHEMA = 'pare-bundle/1.0';

/** Name of the manifest inside a bundle. */
export const MANIFEST_FILE = 'manifest.json';

/**
 * What is in a bundle: `manifest.json`. Plain JSON; the same shape as a JSON schema is `@pare/bundle/manifest.schema.json`.
 * It holds no date, so that the same variants give the same manifest; what was measured, and when, is in the evidence.
 */
export interface Manifest extends ManifestOf<FileRef> {}

/** A manifest whose files are told by `F`: by a `FileRef` once they are written, by a path before. */
export interface ManifestOf<F> {
  /** `pare-bundle/1.x`. */
  readonly schema: string;
  /** Letters, digits, `.`, `_`, `-`; at most 128 characters. */
  readonly name: string;
  /** Of the bundle, for example `1` or `2.0.1`. Letters, digits, `.`, `_`, `-`, `+`; at most 64 characters. */
  readonly version: string;
  /** What wrote the bundle. */
  readonly tool: Tool;
  /** The model that the variants were made from. */
  readonly source: Source;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** How raw data becomes an input, by input name, in the terms of `@pare/verify`; null: the inputs are fed as they are. */
  readonly preprocessing: Readonly<Record<string, JsonObject>> | null;
  /** Names of the classes, in the order of the output; null when there are none. */
  readonly labels: readonly string[] | null;
  /** At least one. */
  readonly variants: readonly VariantOf<F>[];
  /** The `id` of the variant to load. */
  readonly recommended: string;
  /** `evidence.json`: what was measured; null when nothing was. */
  readonly evidence: F | null;
  /** Other files that belong to the bundle: report, README. */
  readonly documents: readonly F[];
}

export interface Tool {
  readonly name: string;
  readonly version: string;
}

export interface Source {
  /** File name without its folder; null for a model that was never a file. */
  readonly file: string | null;
  /** Model file and external data together. */
  readonly bytes: number;
  /** SHA-256 of the model file, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

export interface Port {
  readonly name: string;
  /** ONNX element type: `float32`, `int64`, `string`, ... */
  readonly dtype: string;
  /** A number, a name, or null for unknown. Null in place of the list: the rank is unknown too. */
  readonly dims: readonly (number | string | null)[] | null;
}

/** One file of the bundle. */
export interface FileRef {
  /** Relative to the manifest, with forward slashes. */
  readonly path: string;
  readonly bytes: number;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

export interface Variant extends VariantOf<FileRef> {}

export interface VariantOf<F> {
  /** Unique in the bundle. Lower-case letters, digits, `.`, `_`, `-`; at most 64 characters. */
  readonly id: string;
  /** Precision of the weights, in the words of the field: `fp32`, `fp16`, `int8`, `uint8`, `q8`, `q4`, `q4f16`, ... */
  readonly dtype: string;
  /** Target profile it was made for, for example `node-cpu`; null: any. */
  readonly target: string | null;
  readonly model: F;
  /** Weights outside the model file, under the names that the model has for them. */
  readonly externalData: readonly F[];
  /** Config entries of the session without which it is slow or wrong, for example `session.x64quantprecision`: `1`. */
  readonly sessionConfig: Readonly<Record<string, string>>;
  /** What the host must have, for example `webgpu`, `shader-f16`, `threads`. */
  readonly needs: readonly string[];
  /** Largest resident memory measured while it ran; null when it was not measured. */
  readonly peakBytes: number | null;
}

/** A JSON value, as `preprocessing` holds it. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** Every file that the manifest names, each once, in the order it names them. */
export function filesOf<F>(manifest: Pick<ManifestOf<F>, 'variants' | 'evidence' | 'documents'>): F[] {
  const { variants, evidence, documents } = manifest;
  const all = [
    ...variants.flatMap((v) => [v.model, ...v.externalData]),
    ...(evidence === null ? [] : [evidence]),
    ...documents,
  ];
  const seen = new Set<unknown>();
  return all.filter((file) => {
    const key = typeof file === 'object' && file !== null && 'path' in file ? file.path : file;
    return !seen.has(key) && seen.add(key);
  });
}

import type { FileRef, Manifest, ManifestOf, Port, VariantOf } from './manifest.js';
import { MANIFEST_SCHEMA } from './manifest.js';
import { validateManifest } from './validate.js';

type Optional<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;

/** What `createManifest` needs. What is left out is null or empty. */
export interface ManifestDraft<F = FileRef>
  extends Optional<Omit<ManifestOf<F>, 'schema' | 'variants'>, 'preprocessing' | 'labels' | 'evidence' | 'documents'> {
  readonly variants: readonly VariantDraft<F>[];
}

export type VariantDraft<F = FileRef> = Optional<
  VariantOf<F>,
  'target' | 'externalData' | 'sessionConfig' | 'needs' | 'peakBytes'
>;

/**
 * A valid manifest from its parts; keys always come in the same order.
 * @throws BundleError `bad-file` that names the place, when the parts do not make a valid manifest.
 */
export function createManifest(draft: ManifestDraft): Manifest {
  return validateManifest(completeManifest(draft));
}

/** The draft with everything that was left out, unchecked. */
export function completeManifest<F>(draft: ManifestDraft<F>): ManifestOf<F> {
  return {
    schema: MANIFEST_SCHEMA,
    name: draft.name,
    version: draft.version,
    tool: { name: draft.tool.name, version: draft.tool.version },
    source: { file: draft.source.file, bytes: draft.source.bytes, sha256: draft.source.sha256 },
    inputs: draft.inputs.map(completePort),
    outputs: draft.outputs.map(completePort),
    preprocessing: draft.preprocessing ?? null,
    labels: draft.labels ?? null,
    variants: draft.variants.map((v) => ({
      id: v.id,
      dtype: v.dtype,
      target: v.target ?? null,
      model: v.model,
      externalData: v.externalData ?? [],
      sessionConfig: v.sessionConfig ?? {},
      needs: v.needs ?? [],
      peakBytes: v.peakBytes ?? null,
    })),
    recommended: draft.recommended,
    evidence: draft.evidence ?? null,
    documents: draft.documents ?? [],
  };
}

function completePort({ name, dtype, dims }: Port): Port {
  return { name, dtype, dims };
}

/** A bundle's name out of any text, for example a file name: `Modèle 3.onnx` gives `modele-3.onnx`. */
export function toBundleName(text: string): string {
  const name = text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9._]+/g, '-')
    .replace(/^[^a-z0-9]+|-+$/g, '')
    .slice(0, 128);
  return name === '' ? 'model' : name;
}

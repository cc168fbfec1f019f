export type { ManifestDraft, VariantDraft } from './create.js';
export { createManifest, toBundleName } from './create.js';
export * from './error.js';
export * from './huggingface.js';
export * from './manifest.js';
export { pathProblem } from './path.js';
export { validateManifest } from './validate.js';

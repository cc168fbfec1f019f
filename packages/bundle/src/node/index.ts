export type { Bundle, VerifyOptions } from './open-bundle.js';
export { openBundle } from './open-bundle.js';
export type { BundleSource, WriteBundleOptions } from './write-bundle.js';
export { checkBundleFolder, writeBundle } from './write-bundle.js';

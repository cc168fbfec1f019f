export { StagedFile } from './atomic.js';
export { type CompressedSizes, compressedSizes } from './compressed-sizes.js';
export { nodeEngine } from './engine.js';
export { FileSource, ioError } from './file.js';
export { readModel } from './read-model.js';
export type { RuntimeName } from './runtime.js';
export { wasmEngine } from './wasm-engine.js';
export { type WriteOptions, type WrittenFile, writeModel } from './write-model.js';

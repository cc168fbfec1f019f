export { type BlockSpec, type Blocks, blocksPerRun, packZeroPoints } from './blocks.js';
export type * from './kernels.js';
export { kernels } from './wasm.js';

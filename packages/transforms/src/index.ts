export * from './quantize/dynamic.js';
export type { NodePattern, NodeSelection } from './quantize/select.js';
export * from './kernels/index.js';

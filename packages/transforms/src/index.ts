export * from './kernels/index.js';
export * from './quantize/calibration/index.js';
export * from './quantize/dynamic.js';
export * from './quantize/params.js';
export * from './quantize/saturation.js';
export type { NodePattern, NodeSelection } from './quantize/select.js';
export * from './quantize/weights.js';

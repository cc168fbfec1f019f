export * from './export.js';
export * from './fake-quantize.js';
export * from './plan.js';
export * from './precision.js';
export * from './quantize-aware.js';

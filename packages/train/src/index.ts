export * from './autodiff/index.js';
export * from './loss/index.js';
export * from './optimizer/index.js';
export * from './parameters.js';
export * from './schedule/index.js';

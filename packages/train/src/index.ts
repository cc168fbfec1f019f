export * from './autodiff/index.js';
export * from './loss/index.js';

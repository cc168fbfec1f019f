export * from './autodiff/index.js';

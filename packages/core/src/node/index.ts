export { nodeEngine } from './engine.js';

export * from './fresh-process.js';
export * from './host.js';
export * from './image-folder.js';
export * from './open-data.js';
export * from './preprocess.js';

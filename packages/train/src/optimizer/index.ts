export { type AdamOptions, adam, adamW } from './adam.js';
export { AVERAGE, updateAverage } from './average.js';
export type { Optimizer, UpdateStep } from './optimizer.js';
export { type SgdOptions, sgd } from './sgd.js';
export { gradientNorm, type UpdateOptions, updateParameters } from './update.js';

export { type LossGradientsOptions, lossGradients } from './gradients.js';
export { slimming } from './slimming.js';
export { type TrainSparseOptions, trainSparse } from './train-sparse.js';

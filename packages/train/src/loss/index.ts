export { type BinaryCrossEntropyOptions, binaryCrossEntropy } from './binary-cross-entropy.js';
export { type CrossEntropyOptions, crossEntropy } from './cross-entropy.js';
export { type CtcOptions, ctc } from './ctc.js';
export { graphLoss } from './graph-loss.js';
export { type KlDivergenceOptions, klDivergence } from './kl-divergence.js';
export { type ClassRange, combine, defineLoss, type LabelKind, type Loss, type LossScope } from './loss.js';
export { LOSSES, namedLoss } from './named.js';
export { cosine, type HuberOptions, huber, mse, type RegressionOptions } from './regression.js';
export { type TripletOptions, triplet } from './triplet.js';

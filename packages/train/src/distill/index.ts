export { type AnswerCache, answerCache, memoryRows, type RowStore } from './answer-cache.js';
export { type DistillOptions, distill } from './distill.js';
export { attentionLoss, type FeaturePair, featureLoss } from './feature.js';
export { angleLoss, distanceLoss, similarityLoss } from './relation.js';
export { type DistillTerm, type FeatureTerm, parseTerms, type ResponseTerm } from './terms.js';

import { type Rule, type RuleTable, tensor } from '../op.js';

const negativeLogLikelihood: Rule = (op) => {
  return [tensor(op.dtype(0), op.string('reduction', 'mean') === 'none' ? op.shape(1) : [])];
};

const softmaxCrossEntropy: Rule = (op) => {
  const [loss] = negativeLogLikelihood(op);
  return [loss, tensor(op.dtype(0), op.shape(0))];
};

export const loss: RuleTable = {
  NegativeLogLikelihoodLoss: negativeLogLikelihood,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropy,
};

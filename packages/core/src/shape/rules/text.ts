import { type Rule, type RuleTable, tensor } from '../op.js';
import { binary, unaryTo } from './elementwise.js';

const normalizer: Rule = (op) => {
  const input = op.shape(0);
  return [tensor('string', input && (input.length === 2 ? [1, op.fresh()] : [op.fresh()]))];
};

const split: Rule = (op) => {
  const input = op.shape(0);
  return [tensor('string', input && [...input, op.fresh()]), tensor('int64', input)];
};

const tfIdf: Rule = (op) => {
  const input = op.shape(0);
  const columns = (op.ints('ngram_indexes') ?? []).reduce((most, i) => Math.max(most, i + 1), 0);
  return [tensor('float32', input && [...input.slice(0, -1), columns])];
};

export const text: RuleTable = {
  StringConcat: binary(),
  StringNormalizer: normalizer,
  StringSplit: split,
  RegexFullMatch: unaryTo('bool'),
  TfIdfVectorizer: tfIdf,
};

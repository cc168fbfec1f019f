import type { DType } from '../../dtype.js';
import type { Dim } from '../../ir/type.js';
import { type Known, type Op, type Rule, type RuleTable, tensor, withDim } from '../op.js';
import { unary, unaryTo } from './elementwise.js';

/** Of ai.onnx.ml: classical machine learning. */

/** Number of samples: the first axis of a matrix; a vector is one sample. */
const samples = (op: Op): Dim => (op.rank(0) === 1 ? 1 : op.dim(0, 0));

/** Type of class labels: int64 or string, by which list of them is there. */
function labelType(op: Op): DType {
  return op.attribute('classlabels_strings', 'strings')?.length ? 'string' : 'int64';
}

const classifier: Rule = (op) => {
  // How many scores there are for two classes depends on the post-transform.
  return [tensor(labelType(op), [samples(op)]), tensor('float32', [samples(op), null])];
};

const regressor =
  (columns: (op: Op) => Dim, dtype: (op: Op) => DType | undefined): Rule =>
  (op) => [tensor(dtype(op), [samples(op), columns(op)])];

const labelEncoder: Rule = (op) => {
  const given = op.tensor('values_tensor')?.dtype;
  const found: DType | undefined = op.attribute('values_strings', 'strings')
    ? 'string'
    : op.attribute('values_int64s', 'ints')
      ? 'int64'
      : op.attribute('values_floats', 'floats')
        ? 'float32'
        : undefined;
  if (op.version >= 2) return [tensor(given ?? found, op.shape(0))];
  // Version 1 maps strings to integers and back.
  const input = op.dtype(0);
  return [tensor(input === undefined ? undefined : input === 'string' ? 'int64' : 'string', op.shape(0))];
};

const oneHotEncoder: Rule = (op) => {
  const input = op.shape(0);
  const categories = op.ints('cats_int64s')?.length || op.attribute('cats_strings', 'strings')?.length;
  return [tensor('float32', input && [...input, categories ?? null])];
};

const featureVectorizer: Rule = (op) => {
  const sizes = op.ints('inputdimensions');
  return [tensor('float32', [samples(op), sizes ? sizes.reduce((a, b) => a + b, 0) : null])];
};

const featureExtractor: Rule = (op) => {
  const input = op.shape(0);
  const indices = op.shape(1);
  const count = indices?.length === 1 ? indices[0] : indices?.length === 2 ? indices[1] : null;
  if (!input) return [tensor(op.dtype(0))];
  return [
    tensor(op.dtype(0), input.length === 1 ? [1, count ?? null] : withDim(input, input.length - 1, count ?? null)),
  ];
};

const zipMap: Rule = (op): readonly Known[] => [
  {
    type: {
      kind: 'sequence',
      element: { kind: 'map', key: labelType(op), value: { kind: 'tensor', dtype: 'float32', shape: [] } },
    },
  },
];

const CAST_TARGETS: Readonly<Record<string, DType>> = { TO_FLOAT: 'float32', TO_STRING: 'string', TO_INT64: 'int64' };

const treeEnsemble: Rule = regressor(
  (op) => op.int('n_targets') ?? null,
  (op) => op.dtype(0),
);

export const machineLearning: RuleTable = {
  ArrayFeatureExtractor: featureExtractor,
  Binarizer: unary(),
  CastMap: (op) => [tensor(CAST_TARGETS[op.string('cast_to', 'TO_FLOAT')], [1, null])],
  CategoryMapper: (op) => {
    const input = op.dtype(0);
    return [tensor(input === undefined ? undefined : input === 'string' ? 'int64' : 'string', op.shape(0))];
  },
  DictVectorizer: () => [tensor(undefined)],
  FeatureVectorizer: featureVectorizer,
  Imputer: unary(),
  LabelEncoder: labelEncoder,
  LinearClassifier: classifier,
  LinearRegressor: regressor(
    (op) => op.int('targets', 1),
    () => 'float32',
  ),
  Normalizer: unaryTo('float32'),
  OneHotEncoder: oneHotEncoder,
  SVMClassifier: classifier,
  SVMRegressor: regressor(
    () => 1,
    () => 'float32',
  ),
  Scaler: unaryTo('float32'),
  TreeEnsemble: treeEnsemble,
  TreeEnsembleClassifier: classifier,
  TreeEnsembleRegressor: regressor(
    (op) => op.int('n_targets') ?? null,
    () => 'float32',
  ),
  ZipMap: zipMap,
};

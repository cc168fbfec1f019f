import { float, floats } from '../../src/ir/attribute.js';
import { f32, type Generator, type OperatorCase, of } from './random.js';

const domain = 'ai.onnx.ml';

const linear: Generator = (r) => {
  const [samples, features, classes] = [r.int(1, 4), r.int(1, 5), r.int(1, 4)];
  const input = f32(r.chance(0.2) ? [features] : [samples, features]);
  const coefficients = floats(new Array<number>(features * classes).fill(0.5));
  const intercepts = floats(new Array<number>(classes).fill(0));
  return r.pick<OperatorCase>([
    {
      op: 'LinearClassifier',
      domain,
      inputs: [input],
      attributes: {
        coefficients,
        intercepts,
        classlabels_ints: Array.from({ length: Math.max(2, classes) }, (_, i) => i),
      },
      outputs: 2,
    },
    { op: 'LinearRegressor', domain, inputs: [input], attributes: { coefficients, intercepts, targets: classes } },
  ]);
};

const features: Generator = (r) => {
  const dims = r.dims(r.int(1, 2));
  const width = dims.at(-1) as number;
  const ones = floats(new Array<number>(width).fill(1));
  return r.pick<OperatorCase>([
    {
      op: 'Scaler',
      domain,
      inputs: [of(r.pick(['float32', 'int64']), dims)],
      attributes: { scale: ones, offset: ones },
    },
    { op: 'Normalizer', domain, inputs: [f32(dims)], attributes: { norm: 'L2' } },
    { op: 'Binarizer', domain, inputs: [f32(dims)], attributes: { threshold: float(0.5) } },
    {
      op: 'Imputer',
      domain,
      inputs: [f32(dims)],
      attributes: { imputed_value_floats: ones, replaced_value_float: float(0) },
    },
    { op: 'OneHotEncoder', domain, inputs: [of('int64', dims)], attributes: { cats_int64s: [0, 1, 2], zeros: 1 } },
    { op: 'ArrayFeatureExtractor', domain, inputs: [f32(dims), of('int64', [r.int(1, 3)])] },
    { op: 'ArrayFeatureExtractor', domain, inputs: [f32(dims), of('int64', [1, r.int(1, 3)])] },
    {
      op: 'FeatureVectorizer',
      domain,
      inputs: [f32([2, width]), f32([2, 3])],
      attributes: { inputdimensions: [width, 3] },
    },
    {
      op: 'TreeEnsembleRegressor',
      domain,
      inputs: [f32([r.int(1, 4), 3])],
      attributes: {
        n_targets: 2,
        nodes_treeids: [0, 0, 0],
        nodes_nodeids: [0, 1, 2],
        nodes_featureids: [0, 0, 0],
        nodes_values: floats([0.5, 0, 0]),
        nodes_modes: ['BRANCH_LEQ', 'LEAF', 'LEAF'],
        nodes_truenodeids: [1, 0, 0],
        nodes_falsenodeids: [2, 0, 0],
        target_treeids: [0, 0],
        target_nodeids: [1, 2],
        target_ids: [0, 1],
        target_weights: floats([1, 2]),
      },
    },
  ]);
};

const supportVectors: Generator = (r) => {
  const width = r.int(1, 4);
  return {
    op: 'SVMRegressor',
    domain,
    inputs: [f32([r.int(1, 4), width])],
    attributes: {
      coefficients: floats([1, 2]),
      kernel_type: 'LINEAR',
      kernel_params: floats([1, 0, 1]),
      n_supports: 2,
      rho: floats([0]),
      support_vectors: floats(new Array<number>(2 * width).fill(1)),
    },
  };
};

export const machineLearningCases: Readonly<Record<string, Generator>> = { linear, features, supportVectors };

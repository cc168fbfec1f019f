export * from './equivalent/index.js';
export type { HalfType } from './float16/constants.js';
export * from './float16/float16.js';
export { measureRanges, type TensorRange } from './float16/measure.js';
export * from './fuse/index.js';
export * from './kernels/index.js';
export * from './prune/index.js';
export { absorbFactors } from './quantize/absorb-factors.js';
export { activeRange } from './quantize/active-range.js';
export * from './quantize/calibrate.js';
export * from './quantize/calibration/index.js';
export { isNonNegative } from './quantize/calibration-graph.js';
export type { CalibrationKey } from './quantize/calibration-key.js';
export * from './quantize/calibration-result.js';
export { type ConstantSource, constantSource, removeDeadConstant } from './quantize/constant-source.js';
export * from './quantize/dynamic.js';
export type { Packing } from './quantize/packed-weight.js';
export * from './quantize/params.js';
export {
  clipBounds,
  followingBatchNorm,
  type PlacedNode,
  type Placement,
  type PlacementOptions,
  place,
} from './quantize/placement.js';
export { type ActivationType, type Affine, QdqWriter } from './quantize/qdq.js';
export { attachWeight } from './quantize/rewrite.js';
export * from './quantize/saturation.js';
export * from './quantize/saturation-check.js';
export type { NodePattern, NodeSelection } from './quantize/select.js';
export * from './quantize/sensitivity.js';
export * from './quantize/static.js';
export { matrixOf, type QuantizedWeight, readBias, type SaturationGuard } from './quantize/static-weights.js';
export type { WeightMatrix } from './quantize/weight-matrix.js';
export * from './quantize/weight-only.js';
export * from './quantize/weights.js';
export * from './simplify/index.js';
export { type UpgradeOpsetOptions, upgradeOpset } from './upgrade-opset.js';

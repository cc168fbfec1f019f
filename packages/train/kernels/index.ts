// The SIMD kernels of @pare/train, compiled by scripts/build-kernels.mjs. Pointers are byte offsets in the memory of a
// ParameterStore, on cache lines, and every length is a multiple of 16 elements (parameters are padded with zeros), so no
// kernel has a tail. Every result must equal src/kernels/reference.ts bit for bit: all arithmetic is float32, or float64
// where it says so, in the order written here.
export { adam, momentum, sgd } from './update';
export { accumulate, blend, mask } from './elementwise';
export { firstNonFinite, sumOfSquares } from './inspect';

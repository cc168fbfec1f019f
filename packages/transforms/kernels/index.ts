// The SIMD kernels of @pare/transforms, compiled by scripts/build-kernels.mjs. Pointers are byte offsets in the module's
// memory, which belongs to the caller (src/kernels/memory.ts): the kernels allocate nothing. Every result must equal
// src/kernels/reference.ts bit for bit, so all arithmetic is float32 in the order written here.
export { blocks, pack } from './blocks';
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './half';
export { fold, histogram } from './histogram';
export { quantizeColumns, quantizeRows } from './quantize';
export { rangeColumns, rangeRows } from './range';
export { errorColumns, errorRows, products } from './sums';

export { fuseAffineAfterWeights, fuseAffineBeforeWeights } from './absorb.js';
export { fuseActivations } from './activations.js';
export { mergeArithmetic } from './arithmetic.js';
export { mergeChains } from './chains.js';
export { mergeClips } from './clip.js';
export { fuseGemm } from './gemm.js';
export { fuseNormalizations } from './normalization.js';
export { fusePad } from './pad.js';
export { mergeReshapes } from './reshapes.js';

export { type AutotuneOptions, autotune } from './conv/autotune.js';
export type { ConvChoices, ConvForms } from './conv/choose.js';
export { Emitter, type Term } from './emitter.js';
export { GRADIENT_OPSET, type GradientOptions, gradient, gradientName } from './gradient.js';

export { Emitter, type Term } from './emitter.js';
export { GRADIENT_OPSET, type GradientOptions, gradient, gradientName } from './gradient.js';

import { expect, it } from 'vitest';
import { modelPath } from './layout.js';
import { PRECISION_NAMES } from './precision.js';

const variants = ['fp32', ...PRECISION_NAMES, 'int8-mixed', 'int4-fp16'];

it('names variants as transformers.js looks for them, and no two alike', () => {
  expect(variants.map((name) => modelPath(name, 'hf'))).toEqual([
    'onnx/model.onnx',
    'onnx/model_fp16.onnx',
    'onnx/model_bf16.onnx',
    'onnx/model_int8.onnx',
    'onnx/model_quantized.onnx',
    'onnx/model_int8_weights.onnx',
    'onnx/model_q4.onnx',
    'onnx/model_int8_mixed.onnx',
    'onnx/model_q4f16.onnx',
  ]);
  expect(variants.map((name) => modelPath(name, 'pare'))).toEqual(variants.map((name) => `${name}.onnx`));
});

it('gives the original the name that is left', () => {
  expect(modelPath('original', 'hf')).toBe('onnx/model.onnx');
  expect(modelPath('original', 'hf', ['onnx/model.onnx'])).toBe('onnx/model_original.onnx');
  expect(modelPath('toString', 'hf')).toBe('onnx/model_toString.onnx');
});

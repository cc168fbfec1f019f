/** Endings of model files by precision, as transformers.js looks for them (DEFAULT_DTYPE_SUFFIX_MAPPING). */
const SUFFIXES: Readonly<Record<string, string>> = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
  q2: '_q2',
  q2f16: '_q2f16',
  bnb4: '_bnb4',
};

/**
 * Where a variant of this precision lies in a Hugging Face repository: `onnx/model_q4.onnx`.
 * @returns null for a precision that has no name there
 */
export function huggingFacePath(dtype: string, model = 'model'): string | null {
  const suffix = Object.hasOwn(SUFFIXES, dtype) ? SUFFIXES[dtype] : undefined;
  return suffix === undefined ? null : `onnx/${model}${suffix}.onnx`;
}

/** Names of the external data of a file in that layout: `model.onnx_data`, `model.onnx_data_1`, ... */
export function huggingFaceDataPath(modelPath: string, index: number): string {
  return index === 0 ? `${modelPath}_data` : `${modelPath}_data_${index}`;
}

import type { ManifestDraft } from '../src/create.js';

/** Contents of the files that `draft` names. */
export const contents = {
  'model.onnx': 'the original',
  'onnx/model_int8.onnx': 'the int8 graph',
  'onnx/model_int8.onnx_data': 'the int8 weights, which are longer',
  'evidence.json': '{"schema":"pare-evidence/1.0"}',
  'report.html': '<!doctype html>',
} as const;

/** A bundle with every field in use, its files told by path. */
export const draft: ManifestDraft<string> = {
  name: 'digits',
  version: '1',
  tool: { name: 'pare', version: '0.1.0' },
  source: { file: 'digits v1.onnx', bytes: 12, sha256: 'a'.repeat(64) },
  inputs: [{ name: 'image', dtype: 'float32', dims: ['batch', 1, 28, null] }],
  outputs: [
    { name: 'logits', dtype: 'float32', dims: ['batch', 10] },
    { name: 'scores', dtype: 'seq(map(int64, float32))', dims: null },
  ],
  preprocessing: { image: { resize: { height: 28, width: 28 }, mean: [0.5], layout: 'NCHW' } },
  labels: ['zero', 'one'],
  variants: [
    { id: 'original', dtype: 'fp32', model: 'model.onnx' },
    {
      id: 'int8-dynamic',
      dtype: 'int8',
      target: 'node-cpu',
      model: 'onnx/model_int8.onnx',
      externalData: ['onnx/model_int8.onnx_data'],
      sessionConfig: { 'session.x64quantprecision': '1' },
      needs: ['threads'],
      peakBytes: 123_456,
    },
  ],
  recommended: 'int8-dynamic',
  evidence: 'evidence.json',
  documents: ['report.html'],
};

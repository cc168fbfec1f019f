// Static int8: read a simplified float model, calibrate, quantize, write. Each run is a process of its own, interleaved with
// onnxruntime.quantization in Python when --python names an interpreter that has it; both start from the same file and read
// the same seeded samples, all cores. Weights are random: this is about time and memory, accuracy.mjs about accuracy.
//   node benchmarks/static.mjs [--python python3] [--rounds 3] [--only resnet50] [--json benchmarks/results/static.json]
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});
const CACHE = fileURLToPath(new URL('.cache/', import.meta.url));
const PEER = fileURLToPath(new URL('peers/static.py', import.meta.url));

const IMAGE = { inputs: { input: { dtype: 'float32', dims: [1, 3, 224, 224] } } };
const TEXT = {
  inputs: {
    input_ids: { dtype: 'int64', dims: [1, 128], below: 30522 },
    attention_mask: { dtype: 'int64', dims: [1, 128], ones: true },
  },
};
/** Number of samples, and how often the peer is run when it takes minutes. */
const CASES = [
  { model: 'mobilenet_v2', ...IMAGE, method: 'min-max', samples: 32 },
  { model: 'mobilenet_v2', ...IMAGE, method: 'percentile', samples: 32 },
  { model: 'mobilenet_v2', ...IMAGE, method: 'entropy', samples: 8, peerRounds: 1 },
  { model: 'mobilenet_v2', ...IMAGE, method: 'entropy', samples: 64, peerRounds: 0 },
  { model: 'resnet50', ...IMAGE, method: 'min-max', samples: 16 },
  { model: 'resnet50', ...IMAGE, method: 'percentile', samples: 16 },
  { model: 'bert_base', ...TEXT, method: 'min-max', samples: 8 },
  { model: 'bert_base', ...TEXT, method: 'percentile', samples: 8 },
];

if (positionals[0] === 'run') await run(JSON.parse(positionals[1]));
else await compare();

/** One run of Pare, in this process. Prints what it took as JSON. */
async function run({ source, target, method, samples, data, inputs }) {
  const started = performance.now();
  const [{ readModel, writeModel, nodeEngine }, { calibrate, quantizeStatic }] = await Promise.all([
    import('../packages/core/dist/node/index.js'),
    import('../packages/transforms/dist/index.js'),
  ]);
  const imported = performance.now();
  const spent = process.cpuUsage();
  const engine = nodeEngine();
  const model = await readModel(source);
  const calibration = await calibrate(model, read(data, inputs, samples), { engine, method });
  const calibrated = performance.now();
  const [{ changed }] = await model.transform(quantizeStatic({ calibration }), { engine });
  await writeModel(target, model);
  const { user, system } = process.cpuUsage(spent);
  const result = {
    start: (imported - started) / 1e3,
    calibrate: (calibrated - imported) / 1e3,
    work: (performance.now() - imported) / 1e3,
    cpu: (user + system) / 1e6,
    peakMb: process.resourceUsage().maxRSS / 1024,
    changed,
    outMb: statSync(target).size / 1e6,
  };
  console.log(JSON.stringify(result));
  await engine.close();
}

function bytesOf({ dtype, dims }) {
  return dims.reduce((a, b) => a * b, dtype === 'int64' ? 8 : 4);
}

/** The samples in `path`, one at a time. */
function* read(path, inputs, count) {
  const file = openSync(path, 'r');
  try {
    for (let i = 0; i < count; i++) {
      const feeds = {};
      for (const [name, spec] of Object.entries(inputs)) {
        const buffer = new Uint8Array(bytesOf(spec));
        readSync(file, buffer, 0, buffer.length, null);
        const array = spec.dtype === 'int64' ? new BigInt64Array(buffer.buffer) : new Float32Array(buffer.buffer);
        feeds[name] = { dtype: spec.dtype, dims: spec.dims, data: array };
      }
      yield feeds;
    }
  } finally {
    closeSync(file);
  }
}

/** Seeded samples of both kinds, as raw little-endian values one after the other. */
function writeSamples(path, inputs, count) {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const file = openSync(path, 'w');
  for (let i = 0; i < count; i++) {
    for (const spec of Object.values(inputs)) {
      const size = spec.dims.reduce((a, b) => a * b, 1);
      const array =
        spec.dtype === 'int64'
          ? BigInt64Array.from({ length: size }, () => (spec.ones ? 1n : BigInt(Math.floor(uniform() * spec.below))))
          : Float32Array.from({ length: size }, () => uniform() + uniform() + uniform() + uniform() - 2);
      writeSync(file, new Uint8Array(array.buffer));
    }
  }
  closeSync(file);
}

/** The simplified float model that both start from. */
async function simplified(name) {
  const path = join(CACHE, `${name}.simplified.onnx`);
  if (existsSync(path)) return path;
  const { modelPath } = await import('./models.mjs');
  const { nodeEngine, readModel, writeModel } = await import('../packages/core/dist/node/index.js');
  const { simplify } = await import('../packages/transforms/dist/index.js');
  const engine = nodeEngine();
  const model = await readModel(await modelPath(name));
  await model.transform(simplify(), { engine });
  await writeModel(path, model);
  await engine.close();
  return path;
}

function child(command, options) {
  const text = execFileSync(command[0], command.slice(1), {
    ...options,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['ignore', 'pipe', process.env.VERBOSE ? 'inherit' : 'ignore'],
  });
  return JSON.parse(text.trim().split('\n').at(-1));
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

async function compare() {
  mkdirSync(CACHE, { recursive: true });
  const results = [];
  for (const test of CASES.filter((c) => !args.only || args.only.split(',').includes(c.model))) {
    const source = await simplified(test.model);
    const data = join(CACHE, `${test.model}.samples`);
    writeSamples(data, test.inputs, test.samples);
    const job = { ...test, source, data };
    const ours = [];
    const theirs = [];
    const rounds = Number(args.rounds);
    for (let round = 0; round < rounds; round++) {
      const own = JSON.stringify({ ...job, target: join(CACHE, 'pare.onnx') });
      ours.push(child([process.execPath, fileURLToPath(import.meta.url), 'run', own]));
      if (args.python && round < (test.peerRounds ?? rounds)) {
        theirs.push(child([args.python, PEER, JSON.stringify({ ...job, target: join(CACHE, 'peer.onnx') })]));
      }
    }
    const of = (runs, key) => (runs.length > 0 ? median(runs.map((r) => r[key])) : undefined);
    const row = { model: test.model, method: test.method, samples: test.samples };
    for (const [who, runs] of [
      ['pare', ours],
      ['peer', theirs],
    ]) {
      if (runs.length === 0) continue;
      row[who] = Object.fromEntries(['work', 'calibrate', 'cpu', 'peakMb', 'outMb'].map((k) => [k, of(runs, k)]));
    }
    if (row.peer) row.ratio = Object.fromEntries(['work', 'cpu', 'peakMb'].map((k) => [k, row.peer[k] / row.pare[k]]));
    results.push(row);
    print(row);
  }
  if (args.json) {
    const host = { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version };
    writeFileSync(args.json, `${JSON.stringify({ host, date: new Date().toISOString(), results }, undefined, 2)}\n`);
  }
}

function print({ model, method, samples, pare, peer, ratio }) {
  const text = (r) => `${r.work.toFixed(2)} s, ${r.cpu.toFixed(2)} CPU s, ${r.peakMb.toFixed(0)} MB`;
  const against = peer
    ? `  peer ${text(peer)}  ${ratio.work.toFixed(1)}x faster (CPU ${ratio.cpu.toFixed(1)}x), ${ratio.peakMb.toFixed(1)}x less memory`
    : '';
  console.log(`${model} ${method} ${samples} samples: ${text(pare)}${against}`);
}

// Reads a model and writes it again: Pare against Python's onnx (onnx.load, onnx.save), interleaved, each run in a process of
// its own. Wall and CPU time are those of load + save without the start of the process; memory is the peak of the process.
// Pare waits until the bytes are on the disk (fsync), Python does not. What Pare writes is compared byte for byte.
//   node benchmarks/codec.mjs --python python3 [--rounds 5] [--models 100,435,1900,nodes] [--json benchmarks/results/codec.json]
// Results of models that are not run stay as they are.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { float, GraphBuilder, Tensor } from '../packages/core/dist/index.js';
import { readModel, writeModel } from '../packages/core/dist/node/index.js';

const here = dirname(fileURLToPath(import.meta.url));
const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    models: { type: 'string', default: '100,435,1900,nodes' },
    json: { type: 'string', default: join(here, 'results/codec.json') },
  },
});

/**
 * Layers of y = relu(y W + b) with square weights; sizes as ResNet-50, BERT-base and the largest that fits in one file. And a
 * graph of 60,000 nodes with hardly any weights, each value with its type, as an unrolled decoder has.
 */
const MODELS = {
  100: { layers: 98, width: 512 },
  435: { layers: 104, width: 1024 },
  1900: { layers: 113, width: 2048 },
  nodes: { layers: 20_000, width: 8, title: '60,000 nodes' },
};

if (positionals[0] === 'run') await runPare(positionals[1], positionals[2]);
else await compare();

async function runPare(from, to) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const model = await readModel(from);
  const loaded = performance.now();
  await writeModel(to, model);
  const end = performance.now();
  const { user, system } = process.cpuUsage(cpu);
  console.log(
    JSON.stringify({
      readMs: loaded - start,
      wallMs: end - start,
      cpuMs: (user + system) / 1000,
      peakMB: process.resourceUsage().maxRSS / 1024,
    }),
  );
}

/** Weights are computed while the file is written: seeded, so that every host has the same file. */
async function generate(path, { layers, width, title }) {
  const seeded = (seed, dims) => {
    const count = dims.reduce((a, b) => a * b, 1);
    const produce = () => {
      const values = new Float32Array(count);
      let state = seed + 1;
      for (let i = 0; i < count; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        values[i] = state * 2 ** -36;
      }
      return new Uint8Array(values.buffer);
    };
    return new Tensor('float32', dims, { kind: 'producer', byteLength: 4 * count, produce });
  };
  const b = new GraphBuilder({ name: 'layers' });
  let y = b.input('x', 'float32', ['batch', width]);
  if (title) return writeModel(path, nodesOnly(b, y, layers, seeded(0, [width, width]), seeded(1, [width])));
  for (let i = 0; i < layers; i++) {
    const product = b.op('MatMul', [y, b.constant(seeded(2 * i, [width, width]), `w${i}`)]);
    y = b.op('Relu', [b.op('Add', [product, b.constant(seeded(2 * i + 1, [width]), `b${i}`)])]);
  }
  await writeModel(path, b.output('y', y, 'float32', ['batch', width]).model({ opset: 17, irVersion: 8 }));
}

/** The same layers over one weight and one bias, with names and types as exporters write them. */
function nodesOnly(b, x, layers, weight, bias) {
  const w = b.constant(weight, 'w');
  const c = b.constant(bias, 'b');
  let y = x;
  const add = (layer, opType, inputs, attributes) => {
    const name = `/model/layers.${layer}/block/${opType}`;
    const { output } = b.node(opType, inputs, attributes, { name, outputs: [`${name}_output_0`] });
    output.type = x.type;
    return output;
  };
  for (let i = 0; i < layers; i++) {
    const product = add(i, 'Gemm', [y, w, c], { alpha: float(1), beta: float(1), transB: 1 });
    y = add(i, 'Transpose', [add(i, 'Relu', [product])], { perm: [0, 1] });
  }
  return b.output('y', y).model({ opset: 17, irVersion: 8 });
}

async function compare() {
  const cache = join(here, '.cache');
  fs.mkdirSync(cache, { recursive: true });
  const results = fs.existsSync(args.json) ? JSON.parse(fs.readFileSync(args.json, 'utf8')).results : {};
  for (const name of args.models.split(',')) {
    const model = join(cache, `codec-${name}.onnx`);
    const copy = join(cache, 'codec-copy.onnx');
    if (!fs.existsSync(model)) await generate(model, MODELS[name]);
    const digest = hash(model);
    const runs = { pare: [], python: [] };
    for (let round = -1; round < Number(args.rounds); round++) {
      for (const [peer, command, script] of [
        ['pare', process.execPath, [fileURLToPath(import.meta.url), 'run']],
        ['python', args.python, [join(here, 'peers/codec.py')]],
      ]) {
        const run = JSON.parse(execFileSync(command, [...script, model, copy], { encoding: 'utf8' }));
        if (peer === 'pare' && hash(copy) !== digest) throw new Error(`${name}: the copy differs`);
        fs.rmSync(copy);
        if (round >= 0) runs[peer].push(run); // The first round warms the caches.
      }
    }
    const pare = summary(runs.pare);
    const python = summary(runs.python);
    const ratio = (key) => python[key] / pare[key];
    results[name] = {
      ...(MODELS[name].title && { title: MODELS[name].title }),
      bytes: fs.statSync(model).size,
      pare,
      python,
      faster: ratio('wallMs'),
      lessCpu: ratio('cpuMs'),
      lessMemory: ratio('peakMB'),
      runs,
    };
    const text = ({ wallMs, cpuMs, peakMB }) =>
      `${wallMs.toFixed(0)} ms, CPU ${cpuMs.toFixed(0)} ms, ${peakMB.toFixed(0)} MB`;
    console.log(
      `${MODELS[name].title ?? `${name} MB`}: Pare ${text(pare)}; Python ${text(python)}; ${results[name].faster.toFixed(1)}x faster`,
    );
  }
  const version = execFileSync(args.python, ['-c', 'import onnx; print(onnx.__version__)'], {
    encoding: 'utf8',
  }).trim();
  const host = {
    cpu: os.cpus()[0]?.model.trim(),
    cores: os.cpus().length,
    node: process.version,
    platform: process.platform,
  };
  fs.mkdirSync(dirname(args.json), { recursive: true });
  fs.writeFileSync(
    args.json,
    `${JSON.stringify({ benchmark: 'codec', host, peer: `Python onnx ${version}`, rounds: Number(args.rounds), results }, null, 2)}\n`,
  );
}

function summary(runs) {
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return Object.fromEntries(['wallMs', 'cpuMs', 'peakMB'].map((key) => [key, median(runs.map((run) => run[key]))]));
}

function hash(path) {
  const digest = createHash('sha256');
  const descriptor = fs.openSync(path, 'r');
  const buffer = Buffer.alloc(2 ** 22);
  for (let read = fs.readSync(descriptor, buffer); read > 0; read = fs.readSync(descriptor, buffer)) {
    digest.update(buffer.subarray(0, read));
  }
  fs.closeSync(descriptor);
  return digest.digest('hex');
}

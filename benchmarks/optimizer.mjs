// One update of all parameters: the kernels in WebAssembly against their twin in TypeScript and against the same rule as an
// elementwise model in ONNX Runtime (one thread, in place, chunks of 64k values). Interleaved rounds, medians of CPU ms.
//   node benchmarks/optimizer.mjs [--million 1,11] [--rounds 15] [--json benchmarks/results/optimizer.json]
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import ort from 'onnxruntime-node';
import { GraphBuilder, Tensor } from '../packages/core/dist/index.js';
import { writeModel } from '../packages/core/dist/node/index.js';
import { adamW, gradientNorm, ParameterStore, sgd, updateAverage } from '../packages/train/dist/index.js';
import { referenceMemory } from '../packages/train/dist/kernels/reference.js';
import { wasmMemory } from '../packages/train/dist/kernels/wasm.js';

const { values: args } = parseArgs({
  options: {
    million: { type: 'string', default: '1,11' },
    rounds: { type: 'string', default: '15' },
    json: { type: 'string' },
  },
});
const CHUNK = 65536;
const folder = mkdtempSync(join(os.tmpdir(), 'pare-optimizer-'));
const median = (v) => v.sort((a, b) => a - b)[v.length >> 1];
const scalar = (value) => new ort.Tensor('float32', [value], []);

/** The rules as models: tensors p, g and the state, scalars that change with the step. Outputs end in "2". */
const MODELS = {
  'sgd with momentum': {
    state: ['momentum'],
    scalars: { lr: 0.1 },
    build(b, { p, g, momentum, lr }) {
      const v = b.op('Add', [b.op('Mul', [momentum, b.float(0.9)]), g]);
      return { p: b.op('Sub', [p, b.op('Mul', [v, lr])]), momentum: v };
    },
  },
  adamw: {
    state: ['mean', 'square'],
    scalars: { lr: 0.001, c1: 1.5, c2: 1.2 },
    build(b, { p, g, mean, square, lr, c1, c2 }) {
      const m = b.op('Add', [mean, b.op('Mul', [b.op('Sub', [g, mean]), b.float(0.1)])]);
      const gg = b.op('Mul', [b.op('Mul', [g, g]), b.float(0.001)]);
      const v = b.op('Add', [b.op('Mul', [square, b.float(0.999)]), gg]);
      const under = b.op('Add', [b.op('Mul', [b.op('Sqrt', [v]), c2]), b.float(1e-8)]);
      const move = b.op('Div', [b.op('Mul', [m, b.op('Mul', [lr, c1])]), under]);
      return { p: b.op('Sub', [b.op('Mul', [p, b.float(0.99999)]), move]), mean: m, square: v };
    },
  },
};

async function runtimeUpdate(name, store) {
  const { state, scalars, build } = MODELS[name];
  const b = new GraphBuilder({ seed: 1 });
  b.float = (value) => b.constant(Tensor.of('float32', [], [value]));
  const tensors = ['p', 'g', ...state];
  const inputs = Object.fromEntries([
    ...tensors.map((t) => [t, b.input(t, 'float32', ['n'])]),
    ...Object.keys(scalars).map((s) => [s, b.input(s, 'float32', [])]),
  ]);
  const made = build(b, inputs);
  for (const [t, value] of Object.entries(made)) b.output(`${t}2`, value, 'float32', ['n']);
  const file = join(folder, `${name.replace(/\W/g, '-')}.onnx`);
  await writeModel(file, b.model({ opset: 17 }));
  const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 });
  const fixed = Object.fromEntries(Object.entries(scalars).map(([s, value]) => [s, scalar(value)]));
  // Any buffers will do; these are the store's, so that all three see the same values.
  const flat = { p: store.values, g: store.gradients };
  for (const t of state) flat[t] = store.buffer(t);
  const runs = [];
  for (let at = 0; at < store.length; at += CHUNK) {
    const view = (t) => {
      const data = flat[t].subarray(at, Math.min(at + CHUNK, store.length));
      return new ort.Tensor('float32', data, [data.length]);
    };
    const feeds = { ...fixed, ...Object.fromEntries(tensors.map((t) => [t, view(t)])) };
    runs.push([feeds, Object.fromEntries(Object.keys(made).map((t) => [`${t}2`, feeds[t]]))]);
  }
  return async () => {
    for (const [feeds, fetches] of runs) await session.run(feeds, fetches);
  };
}

/** `length` parameters and gradients of about the size of real ones. */
function storeOf(length, open) {
  const store = new ParameterStore([{ name: 'w', dims: [length / 1000, 1000] }], open);
  let seed = 1;
  for (const [buffer, scale] of [
    [store.values, 0.1],
    [store.gradients, 0.01],
  ]) {
    for (let i = 0; i < length; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      buffer[i] = scale * (seed / 2 ** 31 - 1);
    }
  }
  return store;
}

/** Every span by one rule, and nothing else: what the session of the runtime does. */
function ruleUpdate(store, optimizer) {
  let step = 0;
  return () => {
    step++;
    for (const span of store.spans) {
      optimizer.update(store, span, { step, learningRate: 0.001, gradientScale: 1 });
    }
  };
}

async function cost(run) {
  const start = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

const results = {};
for (const million of args.million.split(',').map(Number)) {
  console.log(`\n${million} M parameters                 wasm ms    twin ms    ONNX Runtime ms`);
  const [wasm, twin] = [storeOf(million * 1e6, wasmMemory), storeOf(million * 1e6, referenceMemory)];
  const runtime = storeOf(million * 1e6, wasmMemory);
  const rules = { 'sgd with momentum': sgd({ momentum: 0.9 }), adamw: adamW() };
  const cases = {};
  for (const [name, optimizer] of Object.entries(rules)) {
    cases[name] = {
      wasm: ruleUpdate(wasm, optimizer),
      twin: ruleUpdate(twin, optimizer),
      runtime: await runtimeUpdate(name, runtime),
    };
  }
  const more = new Float32Array(wasm.length).fill(1e-3);
  const both = (use) => ({ wasm: () => use(wasm), twin: () => use(twin) });
  cases['norm of the gradients'] = both(gradientNorm);
  cases['sum of a shard'] = both((store) => store.addGradients(more));
  cases['average of weights'] = both((store) => updateAverage(store, 9));
  cases['clearing of gradients'] = both((store) => store.clearGradients());
  for (const [name, contenders] of Object.entries(cases)) {
    const times = { wasm: [], twin: [], runtime: [] };
    for (let round = -2; round < Number(args.rounds); round++) {
      for (const [who, run] of Object.entries(contenders)) {
        const ms = await cost(run);
        if (round >= 0) times[who].push(ms); // the first two warm up
      }
    }
    const ms = Object.fromEntries(Object.entries(times).map(([who, v]) => [who, v.length ? median(v) : undefined]));
    results[`${name}, ${million} M`] = ms;
    const cell = (v, width) => (v === undefined ? '-' : v.toFixed(2)).padStart(width);
    console.log(`${name.padEnd(28)}${cell(ms.wasm, 12)}${cell(ms.twin, 11)}${cell(ms.runtime, 19)}`);
  }
}
rmSync(folder, { recursive: true });
if (args.json) {
  const host = { cpu: os.cpus()[0].model, cores: os.cpus().length, node: process.version, platform: process.platform };
  mkdirSync(dirname(args.json), { recursive: true });
  writeFileSync(args.json, `${JSON.stringify({ benchmark: 'optimizer', host, results }, null, 2)}\n`);
}

// What each number format costs where the browser's CPU runs it, and natively, side by side: the measurements behind the table of
// the target web-wasm. A convolutional network and a transformer with seeded weights, every variant made by the recipes that
// `pare optimize` uses; all variants of a model are timed in interleaved rounds, one thread, on the WebAssembly build of ONNX
// Runtime in Node.js, and then on the native one. Random weights: this is about speed, not accuracy.
//   node benchmarks/web-wasm.mjs [--budget 3000] [--only mobilenet] [--json benchmarks/results/web-wasm.json]
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { GraphBuilder, serializeModel } from '@pare/core';
import { nodeEngine, readModel, wasmEngine } from '@pare/core/node';
import { applyRecipe, detectCpu, recipeFor } from '@pare/optimize';
import { simplify } from '@pare/transforms';
import { measurePerformance, OutputComparison } from '@pare/verify';
import { modelPath } from './models.mjs';

const { values: args } = parseArgs({
  options: {
    budget: { type: 'string', default: '3000' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});

/** Name, precision and options of each variant. */
const VARIANTS = [
  ['fp16', 'fp16', {}],
  ['int8 static, u8s8', 'int8', { activations: 'uint8' }],
  ['int8 dynamic, u8 weights', 'int8-dynamic', { weights: 'uint8' }],
  ['int8 weights, DequantizeLinear', 'int8-weights', { format: 'dequantize' }],
  ['int8 weights, Cast and Mul', 'int8-weights', { format: 'cast' }],
  ['int8 weights, blocks of 32', 'int8-weights', { format: 'matmulnbits', blockSize: 32 }],
  ['int4 weights, blocks of 32', 'int4-weights', { blockSize: 32 }],
];

const CASES = [
  { name: 'mobilenet_v2, 224x224', file: () => modelPath('mobilenet_v2'), feeds: picture },
  { name: 'transformer, 128 rows', build: transformer, feeds: (seed) => rows(128, seed) },
  { name: 'transformer, 8 rows', build: transformer, feeds: (seed) => rows(8, seed) },
  { name: 'transformer, 1 row', build: transformer, feeds: (seed) => rows(1, seed) },
];

/** Six layers, width 384, six heads, feed-forward 1536: 10.6 million weights. */
function transformer() {
  const [width, heads, layers] = [384, 6, 6];
  const b = new GraphBuilder();
  let x = b.input('x', 'float32', [1, 'rows', width]);
  const linear = (v, inputs, outputs) =>
    b.op('Add', [
      b.op('MatMul', [v, b.random([inputs, outputs], { scale: 1 / Math.sqrt(inputs) })]),
      b.random([outputs], { scale: 0.02 }),
    ]);
  const norm = (v) => b.op('LayerNormalization', [v, b.op('Add', [b.random([width], { scale: 0.1 }), ones(b)])]);
  const split = (v, perm) => b.op('Transpose', [b.op('Reshape', [v, [0, 0, heads, width / heads]])], { perm });
  for (let i = 0; i < layers; i++) {
    const y = norm(x);
    const [q, k, v] = [0, 1, 2].map(() => linear(y, width, width));
    const scores = b.op('MatMul', [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])]);
    const mixed = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split(v, [0, 2, 1, 3])]);
    const joined = b.op('Reshape', [b.op('Transpose', [mixed], { perm: [0, 2, 1, 3] }), [0, 0, width]]);
    x = b.op('Add', [x, linear(joined, width, width)]);
    x = b.op('Add', [x, linear(b.op('Gelu', [linear(norm(x), width, 4 * width)]), 4 * width, width)]);
  }
  return b.output('y', norm(x), 'float32', [1, 'rows', width]).model({ opset: 20 });
}

const ones = (b) => b.op('Expand', [b.op('Cast', [b.constant([1])], { to: 1 }), [384]]);

function seeded(dims, seed) {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  let state = seed + 1;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state / 2 ** 31 - 1;
  }
  return { dtype: 'float32', dims, data };
}

function picture(seed) {
  return { input: seeded([1, 3, 224, 224], seed) };
}

function rows(count, seed) {
  return { x: seeded([1, count, 384], seed) };
}

const native = nodeEngine();
const wasm = wasmEngine();
const result = {
  host: {
    cpu: os.cpus()[0].model,
    cores: os.cpus().length,
    node: process.version,
    platform: process.platform,
    flags: (await detectCpu()).flags,
  },
  engines: { wasm: wasm.name, native: native.name },
  budgetMs: Number(args.budget),
  results: [],
};

for (const { name, file, build, feeds } of CASES) {
  if (!name.includes(args.only)) continue;
  const model = build ? build() : await readModel(await file());
  await model.transform(simplify(), { engine: native });
  const variants = [{ name: 'fp32', bytes: await serializeModel(model).file.bytes() }];
  const refused = [];
  for (const [label, precision, settings] of VARIANTS) {
    const copy = model.clone();
    const calibration = async function* () {
      for (let seed = 10; seed < 18; seed++) yield feeds(seed);
    };
    try {
      await applyRecipe(copy, recipeFor(precision, settings), { engine: native, calibration });
      variants.push({ name: label, bytes: await serializeModel(copy).file.bytes() });
    } catch (error) {
      refused.push({ name: label, reason: error.message });
    }
  }
  const table = variants.map(({ name, bytes }) => ({ variant: name, megabytes: round(bytes.byteLength / 1e6) }));
  for (const [engine, key] of [
    [wasm, 'wasm'],
    [native, 'native'],
  ]) {
    const sessions = [];
    for (const { bytes } of variants) sessions.push(await engine.open(bytes));
    const truth = await sessions[0].run(feeds(1));
    const measured = await measurePerformance(
      sessions.map((session) => ({ session, feeds: feeds(1) })),
      { budgetMs: result.budgetMs, batches: [] },
    );
    for (const [i, { latency, speedup, coldStart, rounds }] of measured.entries()) {
      const comparison = new OutputComparison();
      comparison.add(truth, await sessions[i].run(feeds(1)));
      table[i][key] = {
        minMs: round(latency.min),
        p50Ms: round(latency.p50),
        rounds,
        // How many times the time of fp32, in the same rounds.
        cost: i === 0 ? 1 : round(1 / speedup.ratio),
        costInterval: i === 0 ? null : [round(1 / speedup.interval.high), round(1 / speedup.interval.low)],
        verdict: speedup?.verdict ?? null,
        loadMs: round(coldStart.loadMs),
        sqnrDb: i === 0 ? null : round(comparison.sqnrDb()),
      };
      await sessions[i].close();
    }
  }
  result.results.push({ case: name, load: round(os.loadavg()[0]), variants: table, refused });
  console.log(`\n${name}`);
  console.table(
    Object.fromEntries(
      table.map(({ variant, megabytes, wasm, native }) => [
        variant,
        {
          MB: megabytes,
          'wasm ms': wasm.p50Ms,
          'wasm cost': `${wasm.cost}${wasm.costInterval ? ` (${wasm.costInterval.join(' to ')})` : ''}`,
          'native ms': native.p50Ms,
          'native cost': native.cost,
          'wasm / native': round(wasm.minMs / native.minMs),
          'dB wasm': wasm.sqnrDb,
          'dB native': native.sqnrDb,
        },
      ]),
    ),
  );
  for (const { name, reason } of refused) console.log(`${name}: ${reason}`);
}
await native.close();
await wasm.close();
if (args.json) {
  // Cases that were not measured now keep their earlier results.
  const old = existsSync(args.json) ? JSON.parse(readFileSync(args.json, 'utf8')).results : [];
  const all = CASES.map(({ name }) => [...result.results, ...old].find((r) => r.case === name));
  writeFileSync(args.json, `${JSON.stringify({ ...result, results: all.filter(Boolean) }, null, 2)}\n`);
}

function round(value) {
  return Number(value.toPrecision(3));
}

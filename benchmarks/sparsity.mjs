// What zeros in weights bring: the same operator with dense and with pruned weights on ONNX Runtime, native and WebAssembly, one
// thread, interleaved rounds; and the size of the file, raw and compressed. Weights are seeded normal values.
//   node benchmarks/sparsity.mjs [--rounds 15] [--json benchmarks/results/sparsity.json]
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { GraphBuilder } from '../packages/core/dist/index.js';
import { compressedSizes, nodeEngine, wasmEngine } from '../packages/core/dist/node/index.js';
import { pruneWeights, shareWeights } from '../packages/transforms/dist/index.js';

const { values: args } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, json: { type: 'string' } },
});
const rounds = Number(args.rounds);

const OPERATORS = {
  'Conv 3x3, 128 to 128 channels, 28x28': () => {
    const b = new GraphBuilder({ seed: 1 });
    const x = b.input('x', 'float32', [1, 128, 28, 28]);
    return b.output('y', b.op('Conv', [x, b.random([128, 128, 3, 3])], { pads: [1, 1, 1, 1] })).model();
  },
  'MatMul, 64 rows, 1024 to 1024': () => {
    const b = new GraphBuilder({ seed: 2 });
    const x = b.input('x', 'float32', [64, 1024]);
    return b.output('y', b.op('MatMul', [x, b.random([1024, 1024])])).model();
  },
  'MatMul, 1 row, 1024 to 1024': () => {
    const b = new GraphBuilder({ seed: 3 });
    const x = b.input('x', 'float32', [1, 1024]);
    return b.output('y', b.op('MatMul', [x, b.random([1024, 1024])])).model();
  },
};

/** name -> transforms; the first is what the others are compared with. */
const VARIANTS = {
  dense: [],
  '50 %': [pruneWeights({ sparsity: 0.5 })],
  '2:4': [pruneWeights({ pattern: '2:4' })],
  '80 %': [pruneWeights({ sparsity: 0.8 })],
  '90 %': [pruneWeights({ sparsity: 0.9 })],
  '95 %': [pruneWeights({ sparsity: 0.95 })],
  '6-bit codebook': [shareWeights({ bits: 6 })],
  '4-bit codebook': [shareWeights({ bits: 4 })],
  '90 %, 4-bit codebook': [pruneWeights({ sparsity: 0.9 }), shareWeights({ bits: 4 })],
};

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

const engines = { native: nodeEngine(), wasm: wasmEngine() };
const results = {};
for (const [operator, build] of Object.entries(OPERATORS)) {
  const dense = build();
  const { name, shape } = dense.graph.inputs[0];
  const data = new Float32Array(shape.reduce((a, d) => a * d, 1)).map((_, i) => Math.sin(i * i));
  const feeds = { [name]: { dtype: 'float32', dims: shape, data } };
  const models = {};
  for (const [variant, transforms] of Object.entries(VARIANTS)) {
    models[variant] = dense.clone();
    await models[variant].transform(...transforms);
  }
  const times = {};
  for (const [kind, engine] of Object.entries(engines)) {
    const sessions = {};
    for (const [variant, model] of Object.entries(models)) sessions[variant] = await engine.open(model, { threads: 1 });
    times[kind] = Object.fromEntries(Object.keys(sessions).map((variant) => [variant, []]));
    for (let round = -2; round < rounds; round++) {
      for (const [variant, session] of Object.entries(sessions)) {
        const ms = median([...(await session.time(feeds, 20))]);
        if (round >= 0) times[kind][variant].push(ms); // Before that: warm-up.
      }
    }
    for (const session of Object.values(sessions)) await session.close();
  }
  results[operator] = {};
  for (const [variant, model] of Object.entries(models)) {
    // Rounds are pairs: the ratio within each, then its median.
    const ratio = (kind) => median(times[kind][variant].map((ms, i) => ms / times[kind].dense[i]));
    results[operator][variant] = {
      nativeMs: median(times.native[variant]),
      native: ratio('native'),
      wasmMs: median(times.wasm[variant]),
      wasm: ratio('wasm'),
      bytes: await compressedSizes(model),
    };
  }
  console.log(`\n${operator}\n  time against dense, native and WebAssembly; file in kB: raw, gzip, brotli`);
  for (const [variant, r] of Object.entries(results[operator])) {
    const kb = (n) => (n === undefined ? '-' : (n / 1e3).toFixed(0)).padStart(7);
    console.log(
      `  ${variant.padEnd(22)} ${r.native.toFixed(2)}x ${r.wasm.toFixed(2)}x ${kb(r.bytes.raw)}${kb(r.bytes.gzip)}${kb(r.bytes.brotli)}`,
    );
  }
}
const names = Object.fromEntries(Object.entries(engines).map(([kind, { name }]) => [kind, name]));
for (const engine of Object.values(engines)) await engine.close();
if (args.json) {
  const host = { cpu: os.cpus()[0].model, cores: os.cpus().length, node: process.version, platform: process.platform };
  mkdirSync(dirname(args.json), { recursive: true });
  writeFileSync(
    args.json,
    `${JSON.stringify({ benchmark: 'sparsity', host, engines: names, rounds, results }, null, 2)}\n`,
  );
}

// Throughput of each quantization kernel in WebAssembly against its plain TypeScript twin. Interleaved rounds, medians.
//   node benchmarks/kernels.mjs [--million 20] [--rounds 7] [--json benchmarks/results/kernels.json]
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { kernels } from '../packages/transforms/dist/index.js';
import { referenceKernels } from '../packages/transforms/dist/kernels/reference.js';

const { values: args } = parseArgs({
  options: {
    million: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'string' },
  },
});
const cols = 4000;
const rows = Math.round((Number(args.million) * 1e6) / cols);
const wasm = kernels();

let seed = 1;
const uniform = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return (seed + 0.5) / 2 ** 32;
};
const x = new Float32Array(rows * cols).map(
  () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
);
const y = x.map((v) => v + 0.01);
const halves = wasm.toFloat16(x);
const affine = (n) => ({ scale: new Float32Array(n).fill(0.04), zeroPoint: new Int32Array(n), qmin: -127, qmax: 127 });
const trial = (n) => ({
  inverse: new Float32Array(n).fill(25),
  lo: new Float32Array(n).fill(-127),
  hi: new Float32Array(n).fill(127),
});
const block = (options) => ({ rows, cols, axis: 0, bits: 4, size: 32, symmetric: false, layout: 'blocks', ...options });

/** name -> what to run on (kernels, rows); the twin gets fewer rows where it is very slow. */
const CASES = {
  range: (k, r) => k.range(x.subarray(0, r * cols)),
  'range of columns': (k, r) => k.rangeColumns(x.subarray(0, r * cols), r, cols),
  'int8 by row': (k, r) => k.quantizeRows(x.subarray(0, r * cols), r, cols, affine(r)),
  'int8 by column': (k, r) => k.quantizeColumns(x.subarray(0, r * cols), r, cols, affine(cols)),
  'trial error by row': (k, r) => k.errorRows(x.subarray(0, r * cols), r, cols, trial(r)),
  'trial error by column': (k, r) => k.errorColumns(x.subarray(0, r * cols), r, cols, trial(cols)),
  'float32 to float16': (k, r) => k.toFloat16(x.subarray(0, r * cols)),
  'float16 to float32': (k, r) => k.fromFloat16(halves.subarray(0, r * cols)),
  'float32 to bfloat16': (k, r) => k.toBfloat16(x.subarray(0, r * cols)),
  'histogram of 2 x 4096 bins': (k, r) =>
    k.histogram(x.subarray(0, r * cols), -9, new Float64Array(4096), new Float64Array(4096)),
  'error products': (k, r) => k.products(x.subarray(0, r * cols), y.subarray(0, r * cols)),
  '4-bit blocks, MatMulNBits': (k, r) => k.quantizeBlocks(x.subarray(0, r * cols), block({ rows: r })),
  '4-bit blocks, symmetric': (k, r) => k.quantizeBlocks(x.subarray(0, r * cols), block({ rows: r, symmetric: true })),
  '4-bit blocks, tensor order': (k, r) =>
    k.quantizeBlocks(x.subarray(0, r * cols), block({ rows: r, layout: 'tensor' })),
  '4-bit blocks along rows': (k, r) => k.quantizeBlocks(x.subarray(0, r * cols), block({ rows: r, axis: 1 })),
  '8-bit blocks': (k, r) => k.quantizeBlocks(x.subarray(0, r * cols), block({ rows: r, bits: 8 })),
  '2-bit blocks': (k, r) => k.quantizeBlocks(x.subarray(0, r * cols), block({ rows: r, bits: 2 })),
};

const median = (v) => v.sort((a, b) => a - b)[v.length >> 1];
/** CPU nanoseconds a value. */
const cost = (run, r) => {
  const start = process.cpuUsage();
  run(r);
  const { user, system } = process.cpuUsage(start);
  return ((user + system) * 1000) / (r * cols);
};

const results = {};
console.log('kernel                        wasm ns/value   GB/s in   twin ns/value   ratio');
for (const [name, run] of Object.entries(CASES)) {
  const twinRows = Math.max(64, Math.round(rows / 100));
  const times = { wasm: [], twin: [] };
  for (let round = -1; round < Number(args.rounds); round++) {
    const w = cost((r) => run(wasm, r), rows);
    const t = cost((r) => run(referenceKernels, r), twinRows);
    if (round < 0) continue; // warm-up
    times.wasm.push(w);
    times.twin.push(t);
  }
  const [w, t] = [median(times.wasm), median(times.twin)];
  results[name] = { wasmNsPerValue: w, twinNsPerValue: t, ratio: t / w };
  console.log(
    `${name.padEnd(30)}${w.toFixed(3).padStart(10)}${(4 / w).toFixed(1).padStart(12)}${t.toFixed(1).padStart(14)}${(t / w).toFixed(0).padStart(9)}x`,
  );
}
if (args.json) {
  const host = { cpu: os.cpus()[0].model, cores: os.cpus().length, node: process.version, platform: process.platform };
  mkdirSync(dirname(args.json), { recursive: true });
  writeFileSync(
    args.json,
    `${JSON.stringify({ benchmark: 'kernels', host, values: rows * cols, results }, null, 2)}\n`,
  );
}

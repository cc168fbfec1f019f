// Relative RMSE of 4-bit weights in blocks of 32, against onnxruntime's round-to-nearest and k_quant on the same weights.
//   node benchmarks/weight-error.mjs [--python python3] [--json benchmarks/results/weight-error.json]
// Without --python only Pare's own columns are printed.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { kernels } from '../packages/transforms/dist/index.js';

const { values: args } = parseArgs({ options: { python: { type: 'string' }, json: { type: 'string' } } });
const [K, N, BLOCK] = [1024, 1024, 32];

let seed = 12345;
const uniform = () => {
  // mulberry32
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
const WEIGHTS = {
  Gaussian: normal,
  Laplace: () => Math.log(1 - uniform()) * (uniform() < 0.5 ? -1 : 1),
  'Student-t(4)': () => normal() / Math.sqrt((normal() ** 2 + normal() ** 2 + normal() ** 2 + normal() ** 2) / 4),
};
/** The published figures that have to be reached (asymmetric). */
const TARGET = { Gaussian: 0.0779, Laplace: 0.0917, 'Student-t(4)': 0.0935 };

/** Measured from the packed result, as a runtime would decode it. */
function relativeError(w, symmetric) {
  const spec = { rows: K, cols: N, axis: 0, bits: 4, size: BLOCK, symmetric, layout: 'blocks' };
  const { packed, scales, zeroPoints } = kernels().quantizeBlocks(w, spec);
  let noise = 0;
  let signal = 0;
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      const block = n * (K / BLOCK) + Math.floor(k / BLOCK);
      const byte = packed[(n * K + k) >> 1];
      const code = k % 2 ? byte >> 4 : byte & 15;
      const v = w[k * N + n];
      noise += (v - scales[block] * (code - zeroPoints[block])) ** 2;
      signal += v ** 2;
    }
  }
  return Math.sqrt(noise / signal);
}

const folder = mkdtempSync(join(tmpdir(), 'pare-weights-'));
const files = {};
const results = {};
for (const [name, draw] of Object.entries(WEIGHTS)) {
  const w = Float32Array.from({ length: K * N }, draw);
  results[name] = {
    target: TARGET[name],
    'pare asymmetric': relativeError(w, false),
    'pare symmetric': relativeError(w, true),
  };
  files[name] = join(folder, `${name}.f32`);
  writeFileSync(files[name], new Uint8Array(w.buffer));
}
if (args.python) {
  const peer = fileURLToPath(new URL('peers/weight_error.py', import.meta.url));
  const output = execFileSync(args.python, [peer, K, N, BLOCK, ...Object.values(files)].map(String), {
    encoding: 'utf8',
  });
  const measured = JSON.parse(output);
  for (const [name, file] of Object.entries(files)) Object.assign(results[name], measured[file]);
}
rmSync(folder, { recursive: true });
console.log(`Relative RMSE, ${K} x ${N}, 4 bit, block ${BLOCK}`);
console.table(
  Object.fromEntries(
    Object.entries(results).map(([k, v]) => [
      k,
      Object.fromEntries(Object.entries(v).map(([c, e]) => [c, Number(e.toFixed(4))])),
    ]),
  ),
);
if (args.json) {
  mkdirSync(dirname(args.json), { recursive: true });
  writeFileSync(
    args.json,
    `${JSON.stringify({ benchmark: 'weight-error', shape: [K, N], bits: 4, block: BLOCK, results }, null, 2)}\n`,
  );
}
const missed = Object.entries(results).filter(([, r]) => r['pare asymmetric'] > r.target);
if (missed.length > 0) {
  console.error(`Above the target: ${missed.map(([name]) => name).join(', ')}.`);
  process.exitCode = 1;
}

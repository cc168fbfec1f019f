// Writes docs/performance.md from the results that the benchmarks left in benchmarks/results/.
//
//   node benchmarks/table.mjs
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { baseRows, compressRows, overall, triedRows } from './compress/rows.mjs';

const folder = new URL('results/', import.meta.url);
const load = (name) => {
  const file = new URL(`${name}.json`, folder);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
};

const num = (x, digits = 3) =>
  x === undefined || x === null
    ? '–'
    : Number(x.toPrecision(digits)).toLocaleString('en', { maximumFractionDigits: 3 });
const mb = (bytes) => `${num(bytes / 1e6)} MB`;
const times = (x) => `${num(x, 2)}x`;
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((r) => `| ${r.join(' | ')} |`).join('\n');

/** One section a benchmark: what was done, against whom, and the table. */
const SECTIONS = {
  codec: ({ results, peer }) => [
    'Reading and writing',
    `\`benchmarks/codec.mjs\` against ${peer}: load and save of one file, each in a process of its own, medians of interleaved rounds. Pare syncs the file to the disk, Python does not.`,
    table(
      ['model', 'Pare', 'Python', 'faster', 'less CPU', 'peak memory of Pare', 'of Python'],
      Object.values(results).map((r) => [
        r.title ? `${r.title}, ${mb(r.bytes)}` : mb(r.bytes),
        `${num(r.pare.wallMs)} ms`,
        `${num(r.python.wallMs)} ms`,
        times(r.faster),
        times(r.lessCpu),
        `${num(r.pare.peakMB)} MB`,
        `${num(r.python.peakMB)} MB`,
      ]),
    ),
  ],
  simplify: ({ results, peer }) => [
    'Simplify',
    `\`benchmarks/simplify.mjs\` against ${peer}. Nodes count subgraphs. Outputs of both models are compared on the same inputs.`,
    table(
      ['model', 'nodes', 'Pare', 'onnxsim', 'faster (first run)', 'faster (second)', 'outputs equal'],
      Object.entries(results).map(([name, r]) => [
        name,
        r.nodes.all,
        r.pare.nodes.all,
        r.onnxsim?.nodes?.all ?? 'fails',
        r.faster ? times(r.faster) : '–',
        r.fasterAgain ? times(r.fasterAgain) : '–',
        r.outputs?.isEqual === undefined ? '–' : r.outputs.isEqual ? 'yes' : 'no',
      ]),
    ),
  ],
  static: ({ results }) => [
    'Static int8: calibrate, quantize, write',
    '`benchmarks/static.mjs` against Python `onnxruntime.quantization` 1.30: the same simplified model and samples, all cores, processes interleaved. Weights are random: this is about time and memory.',
    staticTable(results),
  ],
  accuracy: ({ results }) => [
    'Static int8: accuracy',
    '`benchmarks/accuracy.mjs` on trained networks, against the best of four methods of Python `onnxruntime.quantization` 1.30: SQNR of the outputs, agreement with the float model, top-1. 64 samples calibrate, others judge. The same files run on this processor (VNNI) and on an emulated AVX2 one, whose integer kernels saturate. (The person detector was trained on other pictures: its top-1 says nothing here.)',
    accuracyTable(results),
  ],
  'train-step': ({ results, peer, note = '' }) => [
    'A step of training',
    `\`benchmarks/train-step.mjs\` against ${peer}, eager, on the CPU: forward, backward and SGD with momentum on the same networks, weights and batches, steps in turn, the same losses. Ratios are of Pare's time to PyTorch's, below 1 Pare is quicker: of medians, and of the least CPU time, which other work on the machine disturbs less. Two threads are two shards of half a batch for Pare. Memory is the peak of the whole process. ${note}`.trim(),
    stepTable(results),
  ],
  'weight-only': ({ results, weights }) => [
    'Weight-only quantization',
    `\`benchmarks/weight-only.mjs\` against Python \`onnxruntime.quantization\` 1.30: load, quantize and save ${num(weights / 1e6)} million weights. Pare searches for the scale of least squared error; the peer rounds to nearest.`,
    table(
      ['to', 'Pare', 'Python', 'faster (work)', 'faster (process)', 'less CPU', 'peak memory of Pare', 'of Python'],
      Object.entries(results).map(([name, { pare, python, ratio }]) => [
        name,
        `${num(pare.work)} s`,
        `${num(python.work)} s`,
        times(ratio.work),
        times(ratio.process),
        times(ratio.cpu),
        `${num(pare.peakMb)} MB`,
        `${num(python.peakMb)} MB`,
      ]),
    ),
  ],
  'weight-error': ({ results, block }) => [
    'Error of 4-bit weights',
    `\`benchmarks/weight-error.mjs\`: relative RMSE in blocks of ${block} against the quantizers of \`onnxruntime\` 1.30, at equal storage in each column.`,
    table(
      ['weights', 'Pare', 'RTN asymmetric', 'k_quant', 'Pare symmetric', 'RTN symmetric'],
      Object.entries(results).map(([name, r]) => [
        name,
        ...['pare asymmetric', 'rtn asymmetric', 'k_quant', 'pare symmetric', 'rtn symmetric'].map((key) =>
          r[key].toFixed(4),
        ),
      ]),
    ),
  ],
  recommended: ({ results }) => [
    'What is recommended, measured again',
    '`benchmarks/recommended.mjs`: after `pare optimize`, the original and the recommended file alternate once more under nothing but `onnxruntime-node`, one thread, on another input.',
    table(
      ['model', 'recommended', 'size', 'claimed', 'measured again'],
      Object.entries(results).map(([name, r]) => [
        name,
        r.recommended,
        mb(r.bytes),
        r.claimed ? `${times(r.claimed[0])} (${num(r.claimed[1])} to ${num(r.claimed[2])})` : 'nothing is faster',
        r.claimed ? times(r.faster) : '–',
      ]),
    ),
  ],
  'web-wasm': ({ results, engines }) => [
    'Number formats in WebAssembly',
    `\`benchmarks/web-wasm.mjs\`: the same variants on ${engines.wasm} and on ${engines.native}, one thread each, all of a model in interleaved rounds. Times relative to fp32 of the same engine, below 1 is faster; seeded weights.`,
    table(
      ['model', 'variant', 'size', 'in WebAssembly', '95% interval', 'native'],
      results.flatMap(({ case: model, variants }) =>
        variants.map(({ variant, megabytes, wasm, native }) => [
          model,
          variant,
          `${megabytes} MB`,
          wasm.costInterval ? times(wasm.cost) : `${wasm.p50Ms} ms`,
          wasm.costInterval ? `${num(wasm.costInterval[0])} to ${num(wasm.costInterval[1])}` : '–',
          wasm.costInterval ? times(native.cost) : `${native.p50Ms} ms`,
        ]),
      ),
    ),
  ],
  sparsity: ({ results, engines }) => [
    'Zeros in weights',
    `\`benchmarks/sparsity.mjs\`: an operator with dense, pruned and shared weights on ${engines.native} and ${engines.wasm}, one thread, interleaved rounds; the file raw and compressed. Kernels are dense: zeros bring bytes, and no time.`,
    table(
      ['operator', 'weights', 'native', 'WebAssembly', 'raw', 'gzip', 'brotli'],
      Object.entries(results).flatMap(([operator, variants]) =>
        Object.entries(variants).map(([variant, { native, wasm, nativeMs, wasmMs, bytes }]) => [
          operator,
          variant,
          variant === 'dense' ? `${num(nativeMs)} ms` : times(native),
          variant === 'dense' ? `${num(wasmMs)} ms` : times(wasm),
          ...[bytes.raw, bytes.gzip, bytes.brotli].map(mb),
        ]),
      ),
    ),
  ],
  'train-base': ({ results }) => [
    'Training from nothing',
    `\`benchmarks/train-base.mjs\`: a residual network with BatchNormalization on Fashion-MNIST (split of our own, see \`examples/train\`), SGD with one cycle of the learning rate, mirrored and shifted pictures. 5000 training pictures choose the epoch, 10 000 test pictures judge. Mean and standard error over seeds: ${overall(results)}.`,
    table(['seed', 'parameters', 'epochs', 'validation', 'test', 'time'], baseRows(results)),
  ],
  'train-compress': ({ results }) => [
    'Training after compression',
    'One network of 78 thousand parameters, trained for 5 epochs on Fashion-MNIST; then each way of compressing it trains for 2 epochs more, and so does the control. Accuracy on 10 000 test pictures, mean and standard error over seeds; differences in points to the arm in brackets with the same seeds, and p of the paired t-test. The last epoch counts; settings were chosen on validation pictures (second table). "From nothing" has the shapes of the pruned network and all 7 epochs. The larger network is that of the section before. Students of 9.6 thousand parameters learn 4 epochs, from the control where they have a teacher. Integer models are judged in ONNX Runtime, as exported. What falls short: two epochs do not bring back what half of the multiply-accumulates held, and the same small network is better from nothing; pruning in 8 rounds of equal length ends when the learning rate is nearly spent, and loses to pruning at once. `benchmarks/train-compress.mjs`.',
    [
      table(['what', 'arm', 'accuracy', 'difference', 'p', 'seeds'], compressRows(results)),
      table(['tried', 'setting', 'validation', 'seed'], triedRows(results)),
    ].join('\n\n'),
  ],
  kernels: ({ results, values }) => [
    'Kernels',
    `\`benchmarks/kernels.mjs\`: ${num(values / 1e6)} million values, WebAssembly SIMD against the same in plain TypeScript, which is the tests' oracle.`,
    table(
      ['kernel', 'WASM, ns a value', 'TypeScript', 'ratio'],
      Object.entries(results).map(([name, r]) => [name, num(r.wasmNsPerValue), num(r.twinNsPerValue), times(r.ratio)]),
    ),
  ],
  optimizer: ({ results }) => [
    'Optimizers',
    '`benchmarks/optimizer.mjs`: CPU time of one update of all parameters, one thread, in place: WebAssembly SIMD, its twin in TypeScript, and the same rule as an elementwise model in ONNX Runtime, in chunks of 64k values.',
    table(
      ['what', 'WASM', 'TypeScript', 'ONNX Runtime'],
      Object.entries(results).map(([name, r]) => [
        name,
        `${num(r.wasm)} ms`,
        `${num(r.twin)} ms`,
        r.runtime ? `${num(r.runtime)} ms` : '–',
      ]),
    ),
  ],
};

function stepTable(results) {
  const against = (r) => (r ? `${times(r.wall)} (CPU ${times(r.minCpu)})` : '–');
  return table(
    ['network', 'batch', 'threads', 'Pare', 'PyTorch', 'ratio', 'to channels_last', 'memory of Pare', 'of PyTorch'],
    results.map((r) => [
      r.model,
      r.batch,
      r.threads,
      `${num(r.pare.wallMs)} ms`,
      r.nchw ? `${num(r.nchw.wallMs)} ms` : '–',
      against(r['against nchw']),
      against(r['against channelsLast']),
      `${num(r.pare.peakMb)} MB`,
      r.nchw ? `${num(r.nchw.peakMb)} MB` : '–',
    ]),
  );
}

function staticTable(results) {
  return table(
    ['model', 'method', 'samples', 'Pare', 'Python', 'faster', 'peak memory of Pare', 'of Python'],
    results.map((r) => [
      r.model,
      r.method,
      r.samples,
      `${num(r.pare.work)} s`,
      r.peer ? `${num(r.peer.work)} s` : 'not run',
      r.ratio ? times(r.ratio.work) : '–',
      `${num(r.pare.peakMb)} MB`,
      r.peer ? `${num(r.peer.peakMb)} MB` : '–',
    ]),
  );
}

function accuracyTable(results) {
  const rows = [];
  for (const [model, hosts] of Object.entries(results)) {
    for (const [host, { samples, float, pare, ...peers }] of Object.entries(hosts)) {
      const [way, best] = Object.entries(peers).sort(([, a], [, b]) => b.sqnrDb - a.sqnrDb)[0] ?? ['–', {}];
      const cell = (r) => (r ? `${num(r.sqnrDb)} dB, ${r.agreement.toFixed(3)}, ${r.top1?.toFixed(3) ?? '–'}` : '–');
      const plain = peers['peer, min-max'];
      rows.push([
        model,
        host,
        samples,
        float.top1?.toFixed(3) ?? '–',
        cell(pare),
        `${cell(best)} (${way.replace('peer, ', '')})`,
        cell(plain),
      ]);
    }
  }
  return table(
    ['model', 'processor', 'samples', 'float top-1', 'Pare', 'best of the peer', 'min-max of the peer'],
    rows,
  );
}
const hosts = new Set();
const sections = Object.entries(SECTIONS).flatMap(([name, section]) => {
  const result = load(name);
  if (!result) return [];
  const { host } = result;
  if (host) hosts.add(`${host.cpu}, ${host.cores} cores, Node.js ${host.node}, ${host.platform}`);
  const [title, intro, body] = section(result);
  return [`## ${title}\n\n${intro}\n\n${body}`];
});
const page = `# Performance

What was measured, against whom, on what. Each table comes from a file in \`benchmarks/\` that anyone can run; ratios are of
medians, of runs that alternate with the peer's. \`node benchmarks/table.mjs\` writes this page from \`benchmarks/results/\`.

Host: ${[...hosts].join('; ')}; shared with other work, so ratios tell more than times.

${sections.join('\n\n')}
`;
writeFileSync(new URL('../docs/performance.md', import.meta.url), page);

// Load, quantize the weights, save: a 400 MB model (24 products of 2048 x 2048, seeded normal weights), each run in a process
// of its own, interleaved with onnxruntime.quantization in Python when --python names an interpreter that has it.
//   node benchmarks/weight-only.mjs [--python python3] [--rounds 5] [--json benchmarks/results/weight-only.json]
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: 'string' }, rounds: { type: 'string', default: '5' }, json: { type: 'string' } },
});
const CACHE = fileURLToPath(new URL('.cache/', import.meta.url));
const [LAYERS, SIZE] = [24, 2048];

/** What is compared: Pare's options, and how the peer calls it. */
const CASES = {
  'int4 blocks of 32': { options: { bits: 4 }, peer: 'int4' },
  'int8 blocks of 32': { options: { bits: 8 }, peer: 'int8-blocks' },
  'int8 channels': { options: { bits: 8, format: 'dequantize' }, peer: 'int8' },
};

if (positionals[0] === 'run') await run(JSON.parse(positionals[1]), positionals[2], positionals[3]);
else await compare();

/** One run of Pare, in this process. */
async function run(options, source, target) {
  const started = performance.now();
  const [{ readModel, writeModel }, { quantizeWeights }] = await Promise.all([
    import('../packages/core/dist/node/index.js'),
    import('../packages/transforms/dist/index.js'),
  ]);
  const imported = performance.now();
  const model = await readModel(source);
  await model.transform(quantizeWeights(options));
  await writeModel(target, model);
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const cpu = (userCPUTime + systemCPUTime) / 1e6;
  const result = {
    start: (imported - started) / 1e3,
    work: (performance.now() - imported) / 1e3,
    cpu,
    peakMb: maxRSS / 1024,
  };
  console.log(JSON.stringify(result));
}

async function generate(path) {
  const { GraphBuilder, Tensor } = await import('../packages/core/dist/index.js');
  const { writeModel } = await import('../packages/core/dist/node/index.js');
  const b = new GraphBuilder();
  let x = b.input('x', 'float32', ['n', SIZE]);
  for (let layer = 0; layer < LAYERS; layer++) {
    const produce = () => {
      let seed = layer * 7919 + 1;
      const uniform = () => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return (seed + 0.5) / 2 ** 32;
      };
      const w = new Float32Array(SIZE * SIZE);
      for (let i = 0; i < w.length; i += 2) {
        const r = Math.sqrt((-2 * Math.log(uniform())) / SIZE);
        const angle = 2 * Math.PI * uniform();
        w[i] = r * Math.cos(angle);
        w[i + 1] = r * Math.sin(angle);
      }
      return new Uint8Array(w.buffer);
    };
    const tensor = new Tensor('float32', [SIZE, SIZE], { kind: 'producer', byteLength: SIZE * SIZE * 4, produce });
    x = b.op('Relu', [b.op('MatMul', [x, b.constant(tensor, `w${layer}`)])]);
  }
  b.output('y', x, 'float32', ['n', SIZE]);
  mkdirSync(dirname(path), { recursive: true });
  await writeModel(`${path}.part`, b.model({ opset: 17 }));
  renameSync(`${path}.part`, path);
}

async function compare() {
  const source = join(CACHE, 'weights-400mb.onnx');
  if (!existsSync(source)) await generate(source);
  const script = fileURLToPath(import.meta.url);
  const peer = fileURLToPath(new URL('peers/weight_only.py', import.meta.url));
  /** Wall seconds of the whole process, and what it says of itself. */
  const timed = (command, parameters) => {
    const start = performance.now();
    const output = execFileSync(command, parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return { process: (performance.now() - start) / 1e3, ...JSON.parse(output.trim().split('\n').at(-1)) };
  };
  const results = {};
  for (const [name, { options, peer: kind }] of Object.entries(CASES)) {
    const ours = join(CACHE, 'weight-only.pare.onnx');
    const theirs = join(CACHE, 'weight-only.peer.onnx');
    const runs = { pare: [], peer: [] };
    for (let round = -1; round < Number(args.rounds); round++) {
      const a = timed(process.execPath, [script, 'run', JSON.stringify(options), source, ours]);
      const b = args.python ? timed(args.python, [peer, kind, source, theirs]) : undefined;
      if (round < 0) continue; // warm-up: the file cache
      runs.pare.push(a);
      if (b) runs.peer.push(b);
    }
    const median = (list, key) => list.map((r) => r[key]).sort((p, q) => p - q)[list.length >> 1];
    const summary = (list, file) =>
      list.length > 0 && {
        ...Object.fromEntries(['process', 'work', 'cpu', 'peakMb'].map((key) => [key, median(list, key)])),
        fileMb: statSync(file).size / 1e6,
      };
    const pare = summary(runs.pare, ours);
    const python = summary(runs.peer, theirs);
    results[name] = { pare, python };
    if (python) {
      results[name].ratio = Object.fromEntries(
        ['process', 'work', 'cpu', 'peakMb'].map((k) => [k, python[k] / pare[k]]),
      );
    }
    const text = (r) =>
      Object.entries(r)
        .map(([k, v]) => `${k} ${v.toFixed(2)}`)
        .join('  ');
    console.log(
      `${name}\n  pare    ${text(pare)}${python ? `\n  python  ${text(python)}\n  ratio   ${text(results[name].ratio)}` : ''}`,
    );
  }
  if (args.json) {
    const host = {
      cpu: os.cpus()[0].model,
      cores: os.cpus().length,
      node: process.version,
      loadAverage: os.loadavg()[0],
    };
    mkdirSync(dirname(args.json), { recursive: true });
    const weights = LAYERS * SIZE * SIZE;
    writeFileSync(
      args.json,
      `${JSON.stringify({ benchmark: 'weight-only', host, weights, unit: 's, MB', results }, null, 2)}\n`,
    );
  }
}

// What training from nothing reaches: a residual network with BatchNormalization of about 0.3 million parameters on
// Fashion-MNIST, several seeds. 5000 training pictures choose the epoch; the test pictures only judge. The trained models are
// kept in benchmarks/.cache, where train-compress.mjs finds them.
//   node benchmarks/train-base.mjs [--seeds 1,2,3] [--epochs 8] [--shards 2] [--net wide] [--json benchmarks/results/train-base.json]
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { nodeEngine, writeModel } from '@pare/core/node';
import {
  accuracy,
  augment,
  crossEntropy,
  evaluate,
  inputPorts,
  oneCycleSchedule,
  sgd,
  TrainingData,
  train,
} from '@pare/train';
import { arraysDataset } from '@pare/verify';
import { arraysOf, loadDigits } from '../examples/train/data.mjs';
import { resnetCifar } from './networks.mjs';

const { values: args } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    epochs: { type: 'string', default: '8' },
    shards: { type: 'string', default: '2' },
    net: { type: 'string', default: 'wide' },
    json: { type: 'string' },
  },
});

/** `wide`: 0.27 million parameters; `small`: a fifth of the work, on which compression is tried. */
const NETS = {
  wide: { widths: [16, 48, 128], blocks: 1 },
  small: { widths: [12, 24, 48], blocks: 1 },
};

const CACHE = new URL('.cache/', import.meta.url);
mkdirSync(CACHE, { recursive: true });
const data = loadDigits({ which: 'fashion', validation: 5000 });
const dataset = (part, name) => arraysDataset(arraysOf(part, 'input'), name);
const engine = nodeEngine();
const results = [];

for (const seed of args.seeds.split(',').map(Number)) {
  const model = resnetCifar({ ...NETS[args.net], input: [1, 28, 28], seed });
  const parameters = [...model.graph.initializers].reduce((sum, v) => sum + v.initializer.size, 0);
  const start = performance.now();
  let shown = 0;
  const { epochs, best } = await train(model, {
    engine,
    data: dataset(data.train, 'train'),
    validation: dataset(data.val, 'val'),
    loss: crossEntropy(),
    epochs: Number(args.epochs),
    shards: Number(args.shards),
    batchSize: 64,
    seed,
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 5e-4 }),
    schedule: (steps) => oneCycleSchedule({ learningRate: 0.1, steps }),
    augment: augment({ flip: 'horizontal', crop: 2, fill: -data.mean / data.std }),
    onProgress: ({ epoch, step, steps, loss, samplesPerSecond }) => {
      if (performance.now() - shown < 20_000) return;
      shown = performance.now();
      console.log(
        `seed ${seed} epoch ${epoch} step ${step}/${steps} loss ${loss.toFixed(3)} ${samplesPerSecond.toFixed(0)}/s`,
      );
    },
  });
  const seconds = (performance.now() - start) / 1000;
  const test = await TrainingData.read(dataset(data.test, 'test'), {
    inputs: inputPorts(model),
    label: { kind: 'class', dtype: 'int64', dims: [], classes: 10 },
  });
  const score = await evaluate(engine, model, test, accuracy(), { threads: 2 });
  await writeModel(new URL(`fashion-${args.net}-${seed}.onnx`, CACHE).pathname, model);
  results.push({
    net: args.net,
    seed,
    parameters,
    epochs: epochs.length,
    best,
    validation: epochs.at(best - 1).score,
    test: score,
    seconds,
  });
  console.log(results.at(-1));
  if (args.json) save();
}
await engine.close();

const scores = results.map((r) => r.test);
const mean = scores.reduce((a, b) => a + b) / scores.length;
const deviation = Math.sqrt(scores.reduce((sum, s) => sum + (s - mean) ** 2, 0) / Math.max(scores.length - 1, 1));
console.log(
  `test accuracy ${(100 * mean).toFixed(2)} % +- ${((100 * deviation) / Math.sqrt(scores.length)).toFixed(2)} (standard error)`,
);

/** Adds what was measured to the file, in place of older results of the same net and seed. */
function save() {
  const host = { cpu: os.cpus()[0].model, cores: os.cpus().length, node: process.version, platform: process.platform };
  const old = existsSync(args.json) ? JSON.parse(readFileSync(args.json, 'utf8')).results : [];
  const kept = old.filter((r) => !results.some((n) => n.net === r.net && n.seed === r.seed));
  const all = [...kept, ...results].sort((a, b) => a.net.localeCompare(b.net) || a.seed - b.seed);
  writeFileSync(args.json, `${JSON.stringify({ host, results: all }, null, 2)}\n`);
}

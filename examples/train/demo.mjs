// npm run demo:train: from nothing to a proven 4-bit classifier of clothes, half as wide. Trains a small network on Fashion-MNIST,
// removes half of its channels, trains it with 4-bit weights, and verifies every step against the first one on pictures that
// nothing was chosen by. Leaves the models, evidence.json and report.html in out/.
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { nodeEngine, readModel, writeModel } from '@pare/core/node';
import { assembleEvidence, describeModelFile, trainingEvidence } from '@pare/optimize';
import { arraysDataset, indexData, renderReport, renderTable, verify } from '@pare/verify';
import { freshProcess, hostInfo } from '@pare/verify/node';
import { learn, quantize, round, slim } from './compress.mjs';
import { arraysOf, loadDigits } from './data.mjs';
import { smallResnet } from './network.mjs';

const { values: args } = parseArgs({
  options: { which: { type: 'string', default: 'fashion' }, precision: { type: 'string', default: 'w4a8' } },
});
const OUT = fileURLToPath(new URL('out/', import.meta.url));
const GATES = { maxDrop: 0.01 };
const EPOCHS = { learn: 3, slim: 1, quantize: 2 };

const start = performance.now();
const clock = () => `${((performance.now() - start) / 1000).toFixed(0).padStart(4)} s`;
const say = (line) => console.log(`${clock()}  ${line}`);

mkdirSync(OUT, { recursive: true });
const data = loadDigits({ which: args.which, validation: 3000 });
const parts = Object.fromEntries(
  ['train', 'val', 'test'].map((name) => [
    name,
    { ...arraysDataset(arraysOf(data[name]), `${args.which}-${name}`), classes: data.classes },
  ]),
);
say(`${parts.train.size} pictures to learn from, ${parts.val.size} to choose by, ${parts.test.size} to judge with`);

const engine = nodeEngine();
const lesson = {
  engine,
  data: parts.train,
  validation: parts.val,
  samples: batchesOf(data.train.images, 512, 64),
  shards: Math.min(2, availableParallelism()),
  onProgress: showProgress(),
};

const files = [];
const lessons = [];
const model = smallResnet();
const learned = await learn(model, lesson, EPOCHS.learn);
await keep('original', model, { what: 'finetune', result: learned });

const slimmed = await slim(model, lesson, 0.5, EPOCHS.slim);
const recipe = [step('pruneChannels', { goal: { channels: 0.5 }, roundTo: 4 }, slimmed.notes)];
await keep('half-width', model, { what: 'prune', result: slimmed.result, recipe });

const rounded = model.clone();
await round(rounded, lesson, args.precision);
await keep(`${args.precision}-untrained`, rounded, { recipe: [...recipe, step('quantize', { to: args.precision })] });

const quantized = await quantize(model, lesson, args.precision, EPOCHS.quantize);
recipe.push(step('quantize', { to: args.precision, train: EPOCHS.quantize }, quantized.notes));
await keep(args.precision, model, { what: 'qat', result: quantized.result, recipe });

say('verifying against the first one');
const [original, ...variants] = files;
const verified = await verify(engine, original, variants, {
  data: parts.test,
  gates: GATES,
  fresh: (variant, feeds) => freshProcess(variant.model, feeds),
});
await engine.close();
const { hash, labelled, classes, warnings } = await indexData(parts.test);
const evidence = {
  ...assembleEvidence(verified, {
    model: { ...original.info, inputs: verified.inputs, outputs: verified.outputs },
    data: {
      name: parts.test.name,
      kind: 'user',
      hash,
      labelled,
      classes,
      warnings,
      samples: verified.samples,
      evaluation: verified.samples,
      calibration: 0,
      seed: 1,
    },
    host: hostInfo(engine.name),
    options: { target: null, threads: 1, batchSize: 1, seed: 1, gates: GATES },
    goal: 'size',
    repeat: { command: 'npm run demo:train', config: null },
  }),
  training: lessons,
};
writeFileSync(`${OUT}evidence.json`, `${JSON.stringify(evidence, null, 2)}\n`);
writeFileSync(`${OUT}report.html`, renderReport(evidence));
console.log(`\n${renderTable(evidence, { columns: process.stdout.columns ?? 100 })}\n`);
say(`Look at ${OUT}report.html; the models and evidence.json lie beside it.`);

/** Writes what a step has made, and remembers it for verification. */
async function keep(name, model, { what, result, recipe = [] }) {
  const path = `${OUT}${name}.onnx`;
  await writeModel(path, model);
  const graph = await readModel(path);
  const info = await describeModelFile(path, graph);
  const { bytes, sha256, file } = info;
  files.push({ name, model: path, graph, bytes, sha256, files: [file], recipe: [...recipe], info });
  if (result) lessons.push(trainingEvidence({ name, what, loss: 'cross-entropy', seed: 1, result }));
  const score = result?.epochs[result.best - 1]?.score;
  const right = score === undefined ? '' : `, ${(100 * score).toFixed(2)} % right on those to choose by`;
  say(`${name}: ${(bytes / 1000).toFixed(0)} kB${right}`);
}

function step(transform, options, notes = []) {
  return { transform, options, notes };
}

/** The first `count` pictures as feeds of `size`. */
function batchesOf(images, count, size) {
  const pixels = 28 * 28;
  return Array.from({ length: count / size }, (_, i) => ({
    image: {
      dtype: 'float32',
      dims: [size, 1, 28, 28],
      data: images.subarray(i * size * pixels, (i + 1) * size * pixels),
    },
  }));
}

/** One line that changes in a terminal, and one an epoch elsewhere. */
function showProgress() {
  let shown = 0;
  return ({ epoch, epochs, step, steps, loss, accuracy = 0, samplesPerSecond }) => {
    const line = `epoch ${epoch} of ${epochs}, loss ${loss.toFixed(3)}, ${(100 * accuracy).toFixed(1)} % right, ${samplesPerSecond.toFixed(0)} pictures/s`;
    const ends = step % (steps / epochs) === 0;
    if (process.stdout.isTTY && (ends || performance.now() - shown > 200)) {
      shown = performance.now();
      process.stdout.write(`\r\u001b[K${clock()}  ${line}${step === steps ? '\r\u001b[K' : ''}`);
    }
    if (ends && !process.stdout.isTTY) say(line);
  };
}

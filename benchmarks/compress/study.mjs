// What the experiments of train-compress.mjs share: the pictures, one way to train, what a run leaves behind.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { nodeEngine, readModel, writeModel } from '@pare/core/node';
import {
  accuracy,
  augment,
  cosineSchedule,
  crossEntropy,
  evaluate,
  inputPorts,
  oneCycleSchedule,
  sgd,
  TrainingData,
  train,
} from '@pare/train';
import { arraysDataset } from '@pare/verify';
import { arraysOf, loadDigits } from '../../examples/train/data.mjs';
import { resnetCifar } from '../networks.mjs';

/** The network that is compressed: 78 thousand parameters, half the work of its stem saved by a stride. */
export const NET = { widths: [16, 32, 64], blocks: 1, stem: 2, input: [1, 28, 28] };
/** Epochs from nothing, and those that each way of compressing gets on top; the control gets them too. */
export const BASE_EPOCHS = 5;
export const EPOCHS = 2;

const CACHE = new URL('../.cache/', import.meta.url);

/** Everything that runs need, and the file where their results are kept. */
export class Study {
  engine = nodeEngine();
  #data = loadDigits({ which: 'fashion', validation: 5000 });
  #judges = {};
  #training;

  constructor(file, { shards = 1, log = console.log } = {}) {
    this.file = file;
    this.shards = shards;
    this.log = log;
    mkdirSync(CACHE, { recursive: true });
  }

  dataset(part) {
    return arraysDataset(arraysOf(this.#data[part], 'input'), `fashion-${part}`);
  }

  /** The first pictures of the training set as feeds of `size`, for ranges and statistics: half from any place would do as well. */
  samples(count = 512, size = 64) {
    const { images } = this.#data.train;
    const pixels = 28 * 28;
    return Array.from({ length: count / size }, (_, i) => ({
      input: {
        dtype: 'float32',
        dims: [size, 1, 28, 28],
        data: images.subarray(i * size * pixels, (i + 1) * size * pixels),
      },
    }));
  }

  /** The options of every run of training here: SGD with Nesterov's momentum, mirrored pictures, no choice of epochs. */
  options({ epochs, seed, schedule, learningRate = 0.02 }) {
    let shown = performance.now();
    this.#training ??= this.dataset('train');
    return {
      engine: this.engine,
      data: this.#training,
      loss: crossEntropy(),
      epochs,
      seed,
      shards: this.shards,
      batchSize: 64,
      optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 5e-4 }),
      schedule: schedule ?? ((steps) => cosineSchedule({ learningRate, steps })),
      augment: augment({ flip: 'horizontal' }),
      onProgress: ({ epoch, step, steps, loss, samplesPerSecond }) => {
        if (performance.now() - shown < 20_000) return;
        shown = performance.now();
        this.log(`  epoch ${epoch} step ${step}/${steps} loss ${loss.toFixed(3)} ${samplesPerSecond.toFixed(0)}/s`);
      },
    };
  }

  oneCycle = (steps) => oneCycleSchedule({ learningRate: 0.1, steps });

  /** Trains an untrained network for `epochs`. */
  async fromNothing(model, seed, epochs, rest = {}) {
    await train(model, { ...this.options({ epochs, seed, schedule: this.oneCycle }), ...rest });
    return model;
  }

  /** The trained network that compression starts from. Kept in benchmarks/.cache. */
  base(seed) {
    return this.cached(`base-${seed}`, () => this.fromNothing(resnetCifar({ ...NET, seed }), seed, BASE_EPOCHS));
  }

  /** The same, trained on for as long as what it is compared with. */
  control(seed) {
    return this.cached(`control-${seed}`, async () => {
      const model = await this.base(seed);
      await train(model, this.options({ epochs: EPOCHS, seed }));
      return model;
    });
  }

  /** The larger network that train-base.mjs has trained. */
  async wide(seed) {
    const path = new URL(`fashion-wide-${seed}.onnx`, CACHE).pathname;
    if (!existsSync(path))
      throw new Error(`Run node benchmarks/train-base.mjs --seeds ${seed} first: it leaves ${path}.`);
    return readModel(path);
  }

  async cached(name, make) {
    const path = new URL(`compress-${name}.onnx`, CACHE).pathname;
    if (!existsSync(path)) await writeModel(path, await make());
    return readModel(path);
  }

  /** Accuracy on pictures that choose (`validation`) and on those that only judge (`test`), in the runtime. */
  async score(model) {
    return { ...(await this.validate(model)), test: await this.#accuracy(model, 'test') };
  }

  /** For choices: the test pictures are not looked at. */
  async validate(model) {
    return { validation: await this.#accuracy(model, 'val') };
  }

  async #accuracy(model, part) {
    this.#judges[part] ??= await TrainingData.read(this.dataset(part), {
      inputs: inputPorts(model),
      label: { kind: 'class', dtype: 'int64', dims: [], classes: 10 },
    });
    return evaluate(this.engine, model, this.#judges[part], accuracy());
  }

  get results() {
    return existsSync(this.file) ? JSON.parse(readFileSync(this.file, 'utf8')).results : [];
  }

  has(experiment, arm, seed) {
    return this.results.some((r) => r.experiment === experiment && r.arm === arm && r.seed === seed);
  }

  /** Adds one result to the file at once: what was measured survives whatever comes next. */
  record(result) {
    const host = {
      cpu: os.cpus()[0].model,
      cores: os.cpus().length,
      node: process.version,
      platform: process.platform,
    };
    writeFileSync(`${this.file}.new`, `${JSON.stringify({ host, results: [...this.results, result] }, null, 2)}\n`);
    renameSync(`${this.file}.new`, this.file);
  }
}

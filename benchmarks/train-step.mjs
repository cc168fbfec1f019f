// One step of training (forward, backward, SGD with momentum) against PyTorch eager on the CPU, on the same networks, weights,
// batches and number of threads. Each side is a process that is driven line by line, so that the steps of all alternate; their
// losses are compared too. PyTorch runs twice, in its usual memory layout and in channels_last. With two threads Pare runs two
// shards of half a batch, one thread each (BatchNormalization sees a shard, as in PyTorch's data-parallel training).
//   node benchmarks/train-step.mjs --python python3 [--only lenet,resnet20] [--threads 1,2] [--rounds 8] [--json benchmarks/results/train-step.json]
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string' },
    only: { type: 'string' },
    threads: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '8' },
    json: { type: 'string' },
  },
});
const CACHE = fileURLToPath(new URL('.cache/', import.meta.url));
const PEER = fileURLToPath(new URL('peers/train_step.py', import.meta.url));

/** The networks by the names that the peer knows too; `steps` are those of one round. */
const CASES = {
  lenet: { build: 'lenet', input: [1, 28, 28], batch: 64, steps: 20, rate: 0.01 },
  resnet20: { build: 'resnetCifar', input: [3, 32, 32], batch: 64, steps: 2, rate: 0.01 },
  mobilenet: { build: 'mobilenet', input: [3, 32, 32], batch: 64, steps: 1, rate: 0.01 },
  transformer: { build: 'transformer', input: [64], batch: 32, steps: 4, rate: 0.01, isText: true },
};
const isTrained = (name) => /\.(weight|bias)$/.test(name);

/** Pare's side: answers the same requests as the peer. */
async function serve() {
  const resident = () => Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) / 256;
  const [{ nodeEngine }, train, networks] = await Promise.all([
    import('../packages/core/dist/node/index.js'),
    import('../packages/train/dist/index.js'),
    import('./networks.mjs'),
  ]);
  const { crossEntropy, sgd, TrainingSession, updateParameters } = train;
  const engine = nodeEngine();
  const optimizer = sgd({ momentum: 0.9 });
  let session;
  let batch;
  let rate;
  let step = 0;
  let beforeMb;
  const answers = {
    async open(job) {
      beforeMb = resident();
      const raw = readFileSync(job.data);
      const at = raw.length - 8 * job.batch;
      const array = (kind, from, to) => new kind(raw.buffer.slice(raw.byteOffset + from, raw.byteOffset + to));
      const data = job.isText ? array(BigInt64Array, 0, at) : array(Float32Array, 0, at);
      const dims = [job.batch, ...job.input];
      const label = { dtype: 'int64', dims: [job.batch], data: array(BigInt64Array, at, raw.length) };
      batch = { inputs: { input: { dtype: job.isText ? 'int64' : 'float32', dims, data } }, targets: { label } };
      rate = job.rate;
      const model = networks[job.build]();
      const parameters = [...model.graph.initializers].map((v) => v.name).filter(isTrained);
      session = await TrainingSession.open(model, {
        engine,
        loss: crossEntropy(),
        inputShapes: { input: dims },
        parameters,
        shards: job.threads,
      });
      return { name: engine.name };
    },
    async steps({ count }) {
      const [wall, cpu, losses] = [[], [], []];
      for (let i = 0; i < count; i++) {
        const [start, spent] = [performance.now(), process.cpuUsage()];
        const { loss } = await session.gradients(batch);
        updateParameters(session.parameters, optimizer, { step: ++step, learningRate: rate });
        wall.push(performance.now() - start);
        const { user, system } = process.cpuUsage(spent);
        cpu.push((user + system) / 1e3);
        losses.push(loss);
      }
      return { wall, cpu, losses };
    },
    memory: async () => ({ peakMb: process.resourceUsage().maxRSS / 1024, beforeMb }),
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    console.log(JSON.stringify(await answers[job.op](job)));
  }
  await session?.close();
  await engine.close();
}

/** A process of one side. `ask` sends a request and waits for the answer. */
class Side {
  wall = [];
  cpu = [];
  losses = [];
  #answers;

  constructor(name, command) {
    this.name = name;
    this.child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ask(job) {
    this.child.stdin.write(`${JSON.stringify(job)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.name} ended while it was asked for ${job.op}.`);
    return JSON.parse(value);
  }

  async run(count, isKept) {
    const { wall, cpu, losses } = await this.ask({ op: 'steps', count });
    this.losses.push(...losses);
    if (!isKept) return;
    this.wall.push(...wall);
    this.cpu.push(...cpu);
  }

  async end() {
    const memory = await this.ask({ op: 'memory' });
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin.end();
    await ended;
    return memory;
  }
}

async function compare() {
  mkdirSync(CACHE, { recursive: true });
  const results = [];
  const peers = new Set();
  for (const [model, test] of Object.entries(CASES)) {
    if (args.only && !args.only.split(',').includes(model)) continue;
    const files = await writeFiles(model, test);
    for (const threads of args.threads.split(',').map(Number)) {
      const row = await race({ ...test, ...files, model, threads }, peers);
      results.push(row);
      print(row);
    }
  }
  if (args.json) {
    const host = {
      cpu: os.cpus()[0]?.model.trim(),
      cores: os.cpus().length,
      node: process.version,
      platform: process.platform,
    };
    const content = { host, peer: [...peers].join(', '), date: new Date().toISOString(), results };
    writeFileSync(args.json, `${JSON.stringify(content, undefined, 2)}\n`);
  }
}

/** The weights of the network and a seeded batch, as the peer reads them. */
async function writeFiles(model, { build, input, batch, isText }) {
  const [networks, { seededRandom }] = await Promise.all([
    import('./networks.mjs'),
    import('../packages/core/dist/index.js'),
  ]);
  const initializers = [...networks[build]().graph.initializers].filter((v) => isTrained(v.name));
  const weights = join(CACHE, `${model}.weights.bin`);
  writeFileSync(weights, Buffer.concat(initializers.map((v) => v.initializer.bytes)));
  const random = seededRandom(7);
  const length = input.reduce((a, b) => a * b, batch);
  const inputs = isText
    ? BigInt64Array.from({ length }, () => BigInt(random.integer(256)))
    : Float32Array.from({ length }, () => random.normal());
  const labels = BigInt64Array.from({ length: batch }, () => BigInt(random.integer(10)));
  const data = join(CACHE, `${model}.batch.bin`);
  writeFileSync(data, Buffer.concat([inputs, labels].map((a) => new Uint8Array(a.buffer))));
  return { weights, data };
}

async function race(job, peers) {
  const pare = new Side('Pare', [process.execPath, fileURLToPath(import.meta.url), 'serve']);
  const sides = { pare };
  if (args.python) {
    sides.nchw = new Side('PyTorch', [args.python, PEER]);
    if (job.input.length === 3) sides.channelsLast = new Side('PyTorch channels_last', [args.python, PEER]);
  }
  const each = Object.entries(sides);
  for (const [layout, side] of each) {
    const { name } = await side.ask({ ...job, op: 'open', channelsLast: layout === 'channelsLast' });
    if (side !== pare) peers.add(name);
  }
  // The first round warms up: memory is allocated, kernels are chosen. Then whoever was last begins.
  const rounds = Number(args.rounds);
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 ? each.toReversed() : each;
    for (const [, side] of order) await side.run(job.steps, round > 0);
  }
  const { model, threads } = job;
  const row = { model, batch: job.batch, threads };
  for (const [name, side] of each) {
    const memory = await side.end();
    row[name] = { ...timesOf(side), ...memory, losses: [side.losses[0], side.losses.at(-1)] };
  }
  for (const [name] of each.slice(1)) row[`against ${name}`] = ratios(sides.pare, sides[name], row.pare, row[name]);
  return row;
}

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

function timesOf({ wall, cpu }) {
  return { wallMs: median(wall), minWallMs: Math.min(...wall), cpuMs: median(cpu), minCpuMs: Math.min(...cpu) };
}

/** Time of Pare over that of the peer: below 1 Pare is quicker. */
function ratios(ours, theirs, mine, other) {
  return {
    wall: median(ours.wall) / median(theirs.wall),
    minWall: Math.min(...ours.wall) / Math.min(...theirs.wall),
    cpu: median(ours.cpu) / median(theirs.cpu),
    minCpu: Math.min(...ours.cpu) / Math.min(...theirs.cpu),
    memory: mine.peakMb / other.peakMb,
    addedMemory: (mine.peakMb - mine.beforeMb) / (other.peakMb - other.beforeMb),
  };
}

function print(row) {
  const { model, threads, pare } = row;
  const side = (s) =>
    `${s.wallMs.toFixed(1)} ms (min ${s.minWallMs.toFixed(1)}, CPU ${s.minCpuMs.toFixed(1)}), ${s.peakMb.toFixed(0)} MB`;
  console.log(
    `${model}, ${threads} thread${threads > 1 ? 's' : ''}: Pare ${side(pare)}, losses ${pare.losses.map((l) => l.toFixed(4))}`,
  );
  for (const name of ['nchw', 'channelsLast']) {
    const [peer, ratio] = [row[name], row[`against ${name}`]];
    if (!ratio) continue;
    console.log(
      `  ${name} ${side(peer)}, losses ${peer.losses.map((l) => l.toFixed(4))}: ` +
        `${ratio.wall.toFixed(2)}x (min ${ratio.minWall.toFixed(2)}, CPU ${ratio.minCpu.toFixed(2)}), memory ${ratio.memory.toFixed(2)}x`,
    );
  }
}

if (positionals[0] === 'serve') await serve();
else await compare();

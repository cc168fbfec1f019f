// What training gives back after compression, on Fashion-MNIST, against controls that train as many epochs: quantization-aware
// training, removed channels, sparse weights, distillation. 5000 training pictures chose what had to be chosen, on other seeds than
// those below; the test pictures judge, once. Each result is written at once, and what is there already is not run again.
//   node benchmarks/train-compress.mjs [--only quantization,channels,sparsity,distillation] [--seeds 1,2,3] [--arms <part of a name>]
//     [--shards 1] [--json benchmarks/results/train-compress.json]
import { parseArgs } from 'node:util';
import { channels } from './compress/channels.mjs';
import { distillation, tuning } from './compress/distillation.mjs';
import { quantization, rates } from './compress/quantization.mjs';
import { sparsity } from './compress/sparsity.mjs';
import { Study } from './compress/study.mjs';

const EXPERIMENTS = { rates, quantization, channels, sparsity, tuning, distillation };

const { values: args } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(EXPERIMENTS).join(',') },
    seeds: { type: 'string' },
    arms: { type: 'string' },
    shards: { type: 'string', default: '1' },
    json: { type: 'string', default: new URL('results/train-compress.json', import.meta.url).pathname },
  },
});

const study = new Study(args.json, { shards: Number(args.shards) });
for (const experiment of args.only.split(',')) {
  const { arms, seeds } = EXPERIMENTS[experiment];
  const wanted = arms.filter(({ name }) => !args.arms || name.includes(args.arms));
  for (const seed of args.seeds?.split(',').map(Number) ?? seeds) {
    for (const { name: arm, run } of wanted) {
      if (study.has(experiment, arm, seed)) continue;
      const start = performance.now();
      const result = await run(study, seed);
      study.record({ experiment, arm, seed, ...result, seconds: (performance.now() - start) / 1000 });
      const { test = Number.NaN, validation } = result;
      console.log(
        `${experiment}, ${arm}, seed ${seed}: ${(100 * test).toFixed(2)} % (validation ${(100 * validation).toFixed(2)} %)`,
      );
    }
  }
}
await study.engine.close();

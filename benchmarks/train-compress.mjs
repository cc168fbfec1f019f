// What training gives back after compression, on Fashion-MNIST, against controls that train as many epochs: quantization-aware
// training, removed channels, sparse weights, distillation. 5000 training pictures chose what had to be chosen, on other seeds than
// those below; the test pictures judge, once. Each result is written at once, and what is there already is not run again.
//   node benchmarks/train-compress.mjs [--only quantization,channels,sparsity,distillation] [--seeds 1,2,3] [--arms <part of a name>,...]
//     [--shards 1] [--json benchmarks/results/train-compress.json]
import { parseArgs } from 'node:util';
import { channels, cuts, wide } from './compress/channels.mjs';
import { distillation, tuning } from './compress/distillation.mjs';
import { quantization, rates } from './compress/quantization.mjs';
import { sparsity } from './compress/sparsity.mjs';
import { Study } from './compress/study.mjs';

const EXPERIMENTS = { rates, cuts, quantization, channels, wide, sparsity, tuning, distillation };

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
const wanted = args.only.split(',').flatMap((experiment) => {
  const { arms, seeds } = EXPERIMENTS[experiment];
  return (args.seeds?.split(',').map(Number) ?? seeds).flatMap((seed) =>
    arms.flatMap((arm) =>
      !args.arms || args.arms.split(',').some((part) => arm.name.includes(part)) ? [{ experiment, seed, ...arm }] : [],
    ),
  );
});
// Seed by seed: when time runs out, everything was tried as often.
wanted.sort((a, b) => a.seed - b.seed);
for (const { experiment, seed, name: arm, run } of wanted) {
  if (study.has(experiment, arm, seed)) continue;
  const start = performance.now();
  const result = await run(study, seed);
  study.record({ experiment, arm, seed, ...result, seconds: (performance.now() - start) / 1000 });
  const shown = ['test', 'validation'].filter((part) => part in result);
  console.log(
    `${experiment}, ${arm}, seed ${seed}: ${shown.map((part) => `${part} ${(100 * result[part]).toFixed(2)} %`).join(', ')}`,
  );
}
await study.engine.close();

import type {
  AccuracyEvidence,
  ConfusionMatrix,
  Evidence,
  LayerNumerics,
  NumericsEvidence,
  PerformanceEvidence,
  StabilityEvidence,
  TrainingEvidence,
  VariantEvidence,
} from '../src/evidence.js';
import { EVIDENCE_SCHEMA } from '../src/evidence.js';

/** Uniform numbers in [0, 1): mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const LABELS = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
const SAMPLES = 2000;

interface Plan {
  readonly name: string;
  readonly status: VariantEvidence['verdict']['status'];
  readonly reasons: readonly string[];
  readonly recipe: VariantEvidence['recipe'];
  readonly bytes: number;
  readonly p50: number;
  readonly right: number;
  readonly error: number;
}

const simplify = {
  transform: 'simplify',
  options: {},
  notes: [
    'Folded 14 constants.',
    'Fused 52 BatchNormalization nodes into the Conv before them.',
    'Removed 3 Identity nodes.',
    'Fused 17 Sigmoid and Mul pairs to SiLU… kept as Sigmoid and Mul: opset 17 has no Swish.',
    'Shared 2 equal initializers.',
    'Removed 1 Dropout.',
    'Fused 1 Pad into AveragePool.',
    'Nodes: 207 to 101.',
  ],
};

const PLANS: readonly Plan[] = [
  {
    name: 'original',
    status: 'accepted',
    reasons: ['What everything is compared with.'],
    recipe: [],
    bytes: 13_964_571,
    p50: 11.82,
    right: 1871,
    error: 0,
  },
  {
    name: 'simplified',
    status: 'accepted',
    reasons: ['Holds the gates: 1.11× (1.09 to 1.13) the speed, no difference in top-1 measured.'],
    recipe: [simplify],
    bytes: 13_851_220,
    p50: 10.64,
    right: 1871,
    error: 2e-7,
  },
  {
    name: 'fp16',
    status: 'refused',
    reasons: [
      'Slower than the original: 0.61× (0.60 to 0.62) the speed. The CPU has no 16-bit arithmetic and converts every tensor.',
    ],
    recipe: [
      simplify,
      {
        transform: 'float16',
        options: { keepIo: true },
        notes: ['Kept 1 node in 32 bits: its range goes to 81,920.', 'Inserted 2 Casts.'],
      },
    ],
    bytes: 7_012_330,
    p50: 19.4,
    right: 1870,
    error: 6e-4,
  },
  {
    name: 'int8-dynamic',
    status: 'accepted',
    reasons: ['Holds the gates: 1.05× (1.02 to 1.08) the speed, no difference in top-1 measured.'],
    recipe: [
      simplify,
      {
        transform: 'quantizeDynamic',
        options: { weights: 'uint8', reduceRange: false },
        notes: ['Quantized 1 Gemm and 35 Conv.', 'Left 17 depthwise Conv in float: no kernel of node-cpu is faster.'],
      },
    ],
    bytes: 3_702_118,
    p50: 11.2,
    right: 1862,
    error: 0.018,
  },
  {
    name: 'int8-static-minmax',
    status: 'refused',
    reasons: [
      'top-1 drops by 2.15 points, more than the 1.00 allowed.',
      'Integer kernels saturate on this CPU: 16.2 dB lost on features.17.conv.',
    ],
    recipe: [
      simplify,
      {
        transform: 'quantizeStatic',
        options: { method: 'minmax', activations: 'uint8', weights: 'int8', perChannel: true },
        notes: ['Calibrated on 256 samples.'],
      },
    ],
    bytes: 3_641_904,
    p50: 6.02,
    right: 1828,
    error: 0.11,
  },
  {
    name: 'int8-static',
    status: 'recommended',
    reasons: [
      'The fastest that holds the gates: 1.92× (1.88 to 1.96) the speed, 26 % of the size, no difference in top-1 measured.',
    ],
    recipe: [
      simplify,
      {
        transform: 'quantizeStatic',
        options: { method: 'entropy', activations: 'uint8', weights: 'int8', perChannel: true, reduceRange: true },
        notes: [
          'Calibrated on 256 samples.',
          'Quantized 52 Conv, 10 Add, 1 GlobalAveragePool, 1 Gemm.',
          'Left 1 Softmax in float.',
        ],
      },
    ],
    bytes: 3_641_904,
    p50: 6.16,
    right: 1866,
    error: 0.031,
  },
  {
    name: 'int4-weights',
    status: 'refused',
    reasons: ['top-1 drops by 4.30 points, more than the 1.00 allowed.'],
    recipe: [
      simplify,
      {
        transform: 'quantizeWeights',
        options: { bits: 4, blockSize: 32 },
        notes: ['Quantized 1 Gemm.', 'Left 52 Conv: no 4-bit kernel.'],
      },
    ],
    bytes: 9_120_400,
    p50: 10.9,
    right: 1785,
    error: 0.19,
  },
];

function accuracy(plan: Plan, original: Plan, seed: number): AccuracyEvidence {
  const p = plan.right / SAMPLES;
  const half = 1.96 * Math.sqrt((p * (1 - p)) / SAMPLES);
  const drop = (original.right - plan.right) / SAMPLES;
  const spread = 0.002 + Math.sqrt(plan.error) * 0.018;
  const confusion = confusionOf(plan, seed);
  const worse = drop > spread;
  return {
    metric: 'top-1',
    higherIsBetter: true,
    format: 'percent',
    reference: 'labels',
    value: p,
    interval: { low: p - half, high: p + half, level: 0.95, method: 'wilson' },
    samples: SAMPLES,
    secondary: [
      {
        metric: 'top-5',
        higherIsBetter: true,
        format: 'percent',
        value: 0.991 - drop / 4,
        interval: { low: 0.986 - drop / 4, high: 0.994 - drop / 4, level: 0.95, method: 'wilson' },
      },
      {
        metric: 'macro F1',
        higherIsBetter: true,
        format: 'percent',
        value: p - 0.001,
        interval: { low: p - 0.001 - half, high: p - 0.001 + half, level: 0.95, method: 'bootstrap-bca' },
      },
    ],
    classes: LABELS.map((label, i) => {
      const row = confusion.counts[i] as readonly number[];
      const support = row.reduce((a, b) => a + b, 0);
      const predicted = confusion.counts.reduce((a, r) => a + (r[i] as number), 0);
      const recall = (row[i] as number) / support;
      const precision = (row[i] as number) / predicted;
      return { label, support, precision, recall, f1: (2 * precision * recall) / (precision + recall) };
    }),
    confusion,
    drop:
      plan === original
        ? null
        : {
            value: drop,
            interval: { low: drop - spread, high: drop + spread, level: 0.95, method: 'newcombe-paired' },
            test: {
              name: 'mcnemar-exact',
              pValue: worse ? 0.00004 : 0.41,
              onlyOriginalRight: 21,
              onlyVariantRight: 16,
            },
            verdict: worse ? 'worse' : 'no difference measured',
            gate: { limit: 0.01, verdict: drop > 0.01 ? 'fails' : drop + spread > 0.01 ? 'holds' : 'proven' },
          },
  };
}

function confusionOf(plan: Plan, seed: number): ConfusionMatrix {
  const next = random(seed);
  const counts = LABELS.map((_, i) => LABELS.map((_, j) => (i === j ? SAMPLES / 10 : 0)));
  for (let wrong = SAMPLES - plan.right; wrong > 0; wrong--) {
    const truth = [2, 3, 3, 3, 4, 5, 5, 1, 9, Math.floor(next() * 10)][Math.floor(next() * 10)] as number;
    const answer = { 3: 5, 5: 3, 2: 4, 4: 7, 1: 9, 9: 1 }[next() < 0.6 ? truth : -1] ?? Math.floor(next() * 10);
    if (answer === truth) {
      wrong++;
      continue;
    }
    (counts[truth] as number[])[truth]!--;
    (counts[truth] as number[])[answer]!++;
  }
  return { labels: LABELS, counts };
}

function numerics(plan: Plan, seed: number): NumericsEvidence {
  const next = random(seed);
  const e = plan.error;
  const db = -20 * Math.log10(e);
  const ranked = Array.from({ length: 53 }, (_, i): LayerNumerics => {
    const depth = 0.25 + 0.75 * (i / 52);
    const bump = i === 23 || i === 37 ? 2.4 : 1;
    const relative = e * depth * bump * (0.6 + 0.8 * next());
    return {
      tensor: `/features/features.${Math.floor(i / 3)}/conv/conv.${i % 3}/Conv_output_0`,
      node: `/features/features.${Math.floor(i / 3)}/conv/conv.${i % 3}/Conv`,
      opType: i === 52 ? 'Gemm' : 'Conv',
      index: i * 2,
      elements: 150_528,
      identical: false,
      cosine: 1 - relative ** 2 / 2,
      maxAbs: relative * 9,
      maxRel: relative * 40,
      meanAbs: relative * 0.6,
      relativeRmse: relative,
      sqnrDb: -20 * Math.log10(relative),
      nonFiniteOriginal: 0,
      nonFiniteVariant: 0,
    };
  }).sort((a, b) => (b.relativeRmse ?? 0) - (a.relativeRmse ?? 0));
  return {
    samples: 64,
    outputs: [
      {
        name: 'logits',
        dtype: 'float32',
        elements: 640,
        identical: false,
        cosine: 1 - e ** 2 / 2,
        maxAbs: 12 * e,
        maxRel: 90 * e,
        meanAbs: 1.7 * e,
        relativeRmse: e,
        sqnrDb: db,
        nonFiniteOriginal: 0,
        nonFiniteVariant: 0,
        worstCosine: { value: 1 - 4 * e ** 2, sample: 41 },
        kl: { mean: e ** 2 / 3, max: e ** 2 * 4 },
        top1Agreement: 1 - e / 3,
      },
    ],
    layers: { samples: 8, ranked, unmatched: 4, note: null },
    saturation: {
      optimizedDb: db,
      unoptimizedDb: plan.name === 'int8-static-minmax' ? db + 16.2 : db,
      lossDb: plan.name === 'int8-static-minmax' ? 16.2 : 0,
      samples: 16,
      verdict: !plan.name.startsWith('int8')
        ? 'not applicable'
        : plan.name === 'int8-static-minmax'
          ? 'saturates'
          : 'none',
      reason:
        plan.name === 'int8-static-minmax'
          ? 'The same file gives 16.2 dB more without the fused integer kernels.'
          : 'The run with and without fused kernels agree.',
    },
  };
}

function performance(plan: Plan, original: Plan, seed: number): PerformanceEvidence {
  const next = random(seed);
  const ms = Array.from(
    { length: 400 },
    () => plan.p50 * (0.97 + 0.05 * next() + (next() < 0.08 ? 0.35 * next() : 0) + 0.02 * next()),
  ).sort((a, b) => a - b);
  const q = (p: number): number => ms[Math.round(p * (ms.length - 1))] as number;
  const ratio = original.p50 / plan.p50;
  return {
    batch: 1,
    threads: 2,
    rounds: 20,
    warmupRuns: 5,
    latency: {
      runs: 400,
      min: q(0),
      p50: q(0.5),
      p90: q(0.9),
      p95: q(0.95),
      p99: q(0.99),
      max: q(1),
      mean: ms.reduce((a, b) => a + b, 0) / 400,
    },
    distribution: ms,
    roundMedians: Array.from({ length: 20 }, () => plan.p50 * (0.99 + 0.03 * next())),
    throughput: [1, 4, 16].map((batch) => ({
      batch,
      p50: plan.p50 * batch * 0.85,
      samplesPerSecond: (1000 / plan.p50) * (1 + 0.12 * Math.log2(batch)),
    })),
    coldStart: { loadMs: 62 + plan.bytes / 2e5, firstRunMs: plan.p50 * 2.2 },
    freshProcess: {
      loadMs: 71 + plan.bytes / 2e5,
      firstRunMs: plan.p50 * 2.6,
      baselineBytes: 61e6,
      peakBytes: 88e6 + plan.bytes * 3,
    },
    speedup:
      plan === original
        ? null
        : {
            ratio,
            interval: { low: ratio * 0.98, high: ratio * 1.02, level: 0.95, method: 'bootstrap-percentile' },
            verdict: ratio * 0.98 > 1 ? 'faster' : ratio * 1.02 < 1 ? 'slower' : 'no difference measured',
          },
  };
}

function stability(plan: Plan): StabilityEvidence {
  return {
    extremes: [
      { name: 'zeros', input: 'every input zero', nan: 0, infinite: 0, verdict: 'finite', error: null },
      {
        name: 'denormals',
        input: 'float inputs below the smallest normal number',
        nan: 0,
        infinite: 0,
        verdict: 'finite',
        error: null,
      },
      plan.name === 'fp16'
        ? {
            name: 'large',
            input: 'float inputs 1000 times the largest magnitude in the data',
            nan: 10,
            infinite: 0,
            verdict: 'not finite',
            error: null,
          }
        : {
            name: 'large',
            input: 'float inputs 1000 times the largest magnitude in the data',
            nan: 0,
            infinite: 0,
            verdict: 'finite',
            error: null,
          },
    ],
    reproducibility: {
      runs: 8,
      repeated: { identical: true, maxAbs: 0 },
      threads: [
        { threads: 2, identical: plan.name.startsWith('int8'), maxAbs: plan.name.startsWith('int8') ? 0 : 1.9e-6 },
      ],
    },
  };
}

/** A run of training as a classifier shows it: noisy losses that fall, the best score before the last epoch. */
export function sampleTraining(epochs = 6, steps = 3000): TrainingEvidence {
  const next = random(11);
  const size = Math.ceil(steps / 500);
  const rate = (share: number): number =>
    (share < 0.3 ? share / 0.3 : Math.cos(((share - 0.3) / 0.7) * (Math.PI / 2))) * 1e-3;
  const curve = Array.from({ length: Math.ceil(steps / size) }, (_, i) => {
    const step = Math.min((i + 1) * size, steps);
    const share = step / steps;
    const loss = 0.09 + 2.1 * Math.exp(-7 * share) + 0.04 * (next() - 0.5);
    return {
      step,
      loss,
      low: loss * (0.7 + 0.2 * next()),
      high: loss * (1.1 + 0.5 * next()),
      learningRate: rate(share),
    };
  });
  return {
    name: 'int8-static',
    what: 'qat',
    loss: 'cross-entropy',
    samples: 16_000,
    steps,
    seed: 1,
    seconds: 184.2,
    epochs: Array.from({ length: epochs }, (_, i) => {
      const share = (i + 1) / epochs;
      return {
        epoch: i + 1,
        loss: 0.09 + 2.1 * Math.exp(-7 * (share - 0.5 / epochs)),
        accuracy: 0.96 - 0.3 * Math.exp(-3.4 * share),
        score: 0.937 - 0.2 * Math.exp(-4 * share) - (i === epochs - 1 ? 0.004 : 0),
        learningRate: rate(share),
        seconds: 184.2 / epochs,
      };
    }),
    curve,
    score: { name: 'accuracy', format: 'percent', before: 0.71 },
    best: Math.max(1, epochs - 1),
    notes: ['Each epoch leaves out 12 samples, others each time, that do not fill a batch.'],
  };
}

/** A run with a classifier, as `pare optimize` would give it: seven variants, one recommended, three refused. */
export function sampleEvidence(): Evidence {
  const original = PLANS[0] as Plan;
  return {
    schema: EVIDENCE_SCHEMA,
    createdAt: '2026-03-14T09:26:53.000Z',
    model: {
      name: 'mobilenetv2',
      file: 'mobilenetv2.onnx',
      bytes: original.bytes,
      sha256: 'c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5',
      opset: 17,
      inputs: [{ name: 'image', dtype: 'float32', dims: ['batch', 3, 224, 224] }],
      outputs: [{ name: 'logits', dtype: 'float32', dims: ['batch', 10] }],
    },
    data: {
      name: 'val.npz',
      kind: 'user',
      hash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      samples: 2256,
      calibration: 256,
      evaluation: 2000,
      labelled: true,
      classes: 10,
      seed: 0,
      warnings: [],
    },
    host: {
      cpu: 'AMD EPYC 7763',
      cores: 8,
      arch: 'x64',
      flags: ['avx2'],
      memoryBytes: 34e9,
      os: 'Linux 6.8',
      runtime: 'Node.js 20.19.1',
      engine: 'onnxruntime-node 1.30.0',
      pare: '0.1.0',
    },
    options: { target: 'node-cpu', threads: 2, batchSize: 16, seed: 0, gates: { maxDrop: 0.01, maxP95Ms: 20 } },
    variants: PLANS.map((plan, i) => ({
      name: plan.name,
      isOriginal: plan === original,
      recipe: plan.recipe,
      files: [plan === original ? 'mobilenetv2.onnx' : `mobilenetv2.${plan.name}.onnx`],
      bytes: plan.bytes,
      sha256: 'ab'.repeat(32),
      sessionConfig: plan.name === 'int8-dynamic' ? { 'session.x64quantprecision': '1' } : {},
      accuracy: accuracy(plan, original, 7 + (plan.name === 'simplified' ? 0 : i)),
      numerics: plan === original ? null : numerics(plan, i + 1),
      stability: stability(plan),
      performance: performance(plan, original, i + 1),
      verdict: { status: plan.status, reasons: plan.reasons },
    })),
    refused: [
      {
        name: 'int8-weights',
        recipe: [],
        reason:
          'Not built: the target node-cpu computes 8-bit weights of Conv in float and would only be smaller, which int8-dynamic is too.',
      },
      { name: 'bf16', recipe: [simplify], reason: 'Not built: ONNX Runtime has no bfloat16 Conv on this CPU.' },
    ],
    training: [sampleTraining()],
    recommendation: {
      variant: 'int8-static',
      reason:
        'The fastest that holds the gates: 1.92× (1.88 to 1.96) the speed, 26 % of the size, no difference in top-1 measured.',
    },
    repeat: {
      command:
        'npx pare optimize mobilenetv2.onnx --data val.npz --target node-cpu --max-drop 1% --max-p95 20ms --seed 0 -o dist/',
      config: `import { defineConfig } from '@pare/optimize';

export default defineConfig({
  model: 'mobilenetv2.onnx',
  data: 'val.npz',
  targets: ['node-cpu'],
  gates: { maxDrop: 0.01, maxP95Ms: 20 },
});
`,
    },
    warnings: [],
  };
}

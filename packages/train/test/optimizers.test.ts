import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { referenceMemory } from '../src/kernels/reference.js';
import { wasmMemory } from '../src/kernels/wasm.js';
import { AVERAGE, adam, adamW, type Optimizer, sgd, updateAverage, updateParameters } from '../src/optimizer/index.js';
import { ParameterStore } from '../src/parameters.js';
import {
  constantSchedule,
  cosineSchedule,
  oneCycleSchedule,
  type Schedule,
  stepSchedule,
  warmUp,
} from '../src/schedule/index.js';

// Golden trajectories of PyTorch, made by golden/optimizers.py.
interface Golden {
  readonly start: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly trajectories: Readonly<
    Record<string, { values: readonly (readonly number[])[]; norms?: readonly number[] }>
  >;
  readonly average: readonly number[];
  readonly rates: Readonly<Record<string, readonly number[]>>;
}
const golden = JSON.parse(readFileSync(new URL('golden/optimizers.json', import.meta.url), 'utf8')) as Golden;

const WEIGHT = 35;
function open(memory = wasmMemory): ParameterStore {
  return new ParameterStore(
    [
      { name: 'weight', dims: [5, 7], values: Float32Array.from(golden.start.slice(0, WEIGHT)) },
      { name: 'bias', dims: [7], values: Float32Array.from(golden.start.slice(WEIGHT)) },
    ],
    memory,
  );
}

const values = (store: ParameterStore): number[] => store.parameters.flatMap((p) => [...p.values]);

function addGradient(store: ParameterStore, step: number): void {
  const made = new Float32Array(store.length);
  const views = store.views(made);
  views.get('weight')?.set(golden.gradients[step]!.slice(0, WEIGHT));
  views.get('bias')?.set(golden.gradients[step]!.slice(WEIGHT));
  store.addGradients(made);
}

/** Largest difference relative to the largest magnitude. */
function distance(made: readonly number[], expected: readonly number[]): number {
  expect(made).toHaveLength(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...made.map((v, i) => Math.abs(v - expected[i]!))) / scale;
}

const flat = constantSchedule(0.05);
const CASES: Record<string, { optimizer: Optimizer; schedule: Schedule; clipNorm?: number; micro?: number }> = {
  sgd: { optimizer: sgd({ weightDecay: 0.02 }), schedule: flat },
  momentum: { optimizer: sgd({ momentum: 0.9, weightDecay: 0.02 }), schedule: flat },
  nesterov: {
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.02 }),
    schedule: cosineSchedule({ learningRate: 0.05, steps: 20 }),
  },
  adam: { optimizer: adam({ weightDecay: 0.02 }), schedule: flat },
  adamw: {
    optimizer: adamW({ betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0.1 }),
    schedule: oneCycleSchedule({ learningRate: 0.1, steps: 21 }),
  },
  clipped: { optimizer: sgd({ momentum: 0.9, weightDecay: 0.02 }), schedule: flat, clipNorm: 7.5 },
  accumulated: { optimizer: adamW({ weightDecay: 0.1 }), schedule: flat, micro: 4 },
};

describe('optimizers follow PyTorch', () => {
  it.each(Object.entries(CASES))('%s', (name, { optimizer, schedule, clipNorm, micro = 1 }) => {
    const expected = golden.trajectories[name]!;
    const stores = [open(), open(referenceMemory)] as const;
    const made: number[][] = [];
    const norms: number[] = [];
    for (let step = 0; step < 20 / micro; step++) {
      for (const store of stores) {
        for (let i = 0; i < micro; i++) addGradient(store, step * micro + i);
        const options = { step: step + 1, learningRate: schedule(step), divisor: micro, clipNorm };
        const norm = updateParameters(store, optimizer, options);
        if (store === stores[0]) norms.push(norm);
      }
      expect(values(stores[0])).toEqual(values(stores[1]));
      made.push(values(stores[0]));
    }
    const kept = [...made.filter((_, i) => i % 4 === 0), made.at(-1)!];
    for (const [i, v] of kept.entries()) expect(distance(v, expected.values[i]!)).toBeLessThan(1e-6);
    if (expected.norms) expect(distance(norms, expected.norms)).toBeLessThan(1e-6);
  });

  it('the average of weights, once it is warm', () => {
    const store = open();
    store.buffer(AVERAGE).set(store.values);
    for (let step = 0; step < 20; step++) {
      addGradient(store, step);
      updateParameters(store, sgd(), { step: step + 1, learningRate: 0.05 });
      // Step 7 and later: (1 + step) / (10 + step) is above 0.3, so the decay alone counts.
      updateAverage(store, step + 7, 0.3);
    }
    const made = [...store.buffer(AVERAGE).subarray(0, WEIGHT)];
    expect(distance(made, golden.average)).toBeLessThan(1e-6);
  });
});

describe('schedules follow PyTorch', () => {
  const schedules: Record<string, Schedule> = {
    step: stepSchedule({ learningRate: 0.1, every: 6, factor: 0.3 }),
    cosine: cosineSchedule({ learningRate: 0.1, steps: 20, last: 0.001 }),
    oneCycle: oneCycleSchedule({ learningRate: 0.1, steps: 21 }),
    warmUp: warmUp(5, cosineSchedule({ learningRate: 0.1, steps: 15, last: 0.01 })),
  };
  it.each(Object.entries(schedules))('%s', (name, schedule) => {
    for (const [step, rate] of golden.rates[name]!.entries()) expect(schedule(step)).toBeCloseTo(rate, 12);
  });
});

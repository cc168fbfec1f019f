import { seededRandom } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adam, adamW, gradientNorm, type Optimizer, sgd, updateAverage, updateParameters } from './optimizer/index.js';
import { decays, type ParameterSpec, ParameterStore } from './parameters.js';

const SPECS: readonly ParameterSpec[] = [
  { name: 'conv.weight', dims: [3, 2, 3, 3], values: normal(54, 1) },
  { name: 'conv.bias', dims: [3], values: normal(3, 2) },
  { name: 'scale', dims: [], values: Float32Array.of(0.1), gradientScale: 0.25, gradientLimit: 50 },
  { name: 'fc.weight', dims: [17, 5], values: normal(85, 3) },
  { name: 'nothing', dims: [0, 4] },
];
const OPTIMIZERS: readonly Optimizer[] = [
  sgd({ weightDecay: 0.1 }),
  sgd({ momentum: 0.9, weightDecay: 0.1 }),
  sgd({ momentum: 0.9, nesterov: true }),
  adam({ weightDecay: 0.1 }),
  adamW(),
];

function normal(n: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: n }, () => random.normal());
}

/** Gradients of the layout of `store`, seeded. */
function gradientsOf(store: ParameterStore, seed: number): Float32Array {
  const flat = new Float32Array(store.length);
  for (const [i, view] of [...store.views(flat).values()].entries()) view.set(normal(view.length, seed * 10 + i));
  return flat;
}

function train(store: ParameterStore, optimizer: Optimizer, from: number, to: number): void {
  for (let step = from; step <= to; step++) {
    store.addGradients(gradientsOf(store, step));
    updateParameters(store, optimizer, { step, learningRate: 0.05, clipNorm: 5 });
    updateAverage(store, step);
  }
}

/** Everything in `store`, as bits. */
function bitsOf(store: ParameterStore): Record<string, Uint32Array> {
  const { buffers } = store.state();
  return Object.fromEntries(Object.entries(buffers).map(([name, b]) => [name, new Uint32Array(b.slice().buffer)]));
}

describe('ParameterStore', () => {
  it('lays parameters out as views on cache lines, those that are updated alike side by side', () => {
    const store = new ParameterStore(SPECS);
    expect(store.parameters.map((p) => [p.name, p.offset, p.size])).toEqual([
      ['conv.weight', 0, 54],
      ['conv.bias', 160, 3],
      ['scale', 176, 1],
      ['fc.weight', 64, 85],
      ['nothing', 160, 0],
    ]);
    expect(store.spans.map((s) => [s.offset, s.length, s.decay, s.gradientScale])).toEqual([
      [0, 160, true, 1],
      [160, 16, false, 1],
      [176, 16, false, 0.25],
    ]);
    expect(store.get('fc.weight').values).toEqual(SPECS[3]?.values);
    store.get('conv.bias').gradient.fill(2);
    expect(store.gradients.filter((g) => g === 2)).toHaveLength(3);
    for (const { values, gradient } of store.parameters) {
      expect([values.byteOffset % 64, gradient.byteOffset % 64]).toEqual([0, 0]);
      expect(values.buffer).toBe(store.values.buffer);
    }
  });

  it('gives snapshots that the next steps leave alone, as feeds of an engine', () => {
    const store = new ParameterStore(SPECS);
    const feeds = store.feeds();
    train(store, sgd(), 1, 3);
    expect(feeds['conv.weight']).toEqual({ dtype: 'float32', dims: [3, 2, 3, 3], data: SPECS[0]?.values });
    expect((feeds['conv.weight']!.data as Float32Array).buffer.byteLength).toBe(store.length * 4);
    const best = store.snapshot();
    train(store, sgd(), 4, 6);
    store.restore(best);
    expect(store.values).toEqual(best);
  });

  it('decays matrices and filters, not biases, gains, slopes and scales', () => {
    expect(
      [
        [3, 2, 3, 3],
        [17, 5],
        [8, 1, 3, 3],
      ].map(decays),
    ).toEqual([true, true, true]);
    expect([[64], [], [64, 1, 1], [1, 64]].map(decays)).toEqual([false, false, false, false]);
  });

  it('adds gradients of micro-batches and shards, longer than a piece', () => {
    const store = new ParameterStore([{ name: 'w', dims: [100, 101] }]);
    const [a, b] = [gradientsOf(store, 1), gradientsOf(store, 2)];
    store.addGradients(a);
    store.addGradients(b, 0.5);
    expect(store.gradients).toEqual(a.map((v, i) => v + Math.fround(0.5 * b[i]!)));
    expect(gradientNorm(store)).toBeCloseTo(Math.hypot(...store.gradients), 9);
    expect(() => store.addGradients(a.subarray(16))).toThrow('There are 10096 gradients where 10112 are needed.');
  });

  it('refuses what contradicts itself', () => {
    const open =
      (...specs: ParameterSpec[]) =>
      () =>
        new ParameterStore(specs);
    expect(open({ name: 'w', dims: [2] }, { name: 'w', dims: [3] })).toThrow('Two parameters are called "w".');
    expect(open({ name: 'w', dims: [2, 2], values: new Float32Array(3) })).toThrow(
      'Parameter "w" of shape [2, 2] is given 3 values.',
    );
    expect(open({ name: 'w', dims: [20], values: normal(20, 1).fill(Number.NaN, 17, 18) })).toThrow(
      'The weight "w" holds NaN at element 17: it cannot be trained.',
    );
    expect(open({ name: 'w', dims: [2], learningRate: -1 })).toThrow('The learningRate of parameter "w" is -1');
    expect(open({ name: 'w', dims: [40000, 40000] })).toThrow('do not fit into 4 GiB');
    expect(() => new ParameterStore(SPECS).get('missing')).toThrow('There is no trained parameter "missing".');
    expect(() => new ParameterStore(SPECS).setMask('scale', new Uint8Array(2))).toThrow('has 2 elements where 1');
  });
});

describe('updates', () => {
  it.each(OPTIMIZERS.map((o, i) => [`${o.name} ${i}`, o] as const))(
    '%s: pruned elements stay zero everywhere, the others do not notice',
    (_name, optimizer) => {
      fc.assert(
        fc.property(
          fc.array(fc.nat(1), { minLength: 85, maxLength: 85 }),
          fc.integer({ min: 0, max: 3 }),
          (bits, at) => {
            const keep = Uint8Array.from(bits);
            const [store, dense] = [new ParameterStore(SPECS), new ParameterStore(SPECS)];
            const step = (s: ParameterStore, n: number): void => {
              s.addGradients(gradientsOf(s, n));
              updateParameters(s, optimizer, { step: n, learningRate: 0.05 });
              updateAverage(s, n);
            };
            for (let n = 1; n <= 6; n++) {
              if (n > at) store.setMask('fc.weight', keep);
              step(store, n);
              step(dense, n);
            }
            for (const [name, flat] of Object.entries(dense.state().buffers)) {
              const expected = flat.slice();
              const view = dense.views(expected).get('fc.weight') as Float32Array;
              for (const [i, k] of keep.entries()) if (k === 0) view[i] = 0;
              expect(store.buffer(name)).toEqual(expected);
            }
          },
        ),
        { seed: 3, numRuns: 20 },
      );
    },
  );

  it.each(OPTIMIZERS.map((o, i) => [`${o.name} ${i}`, o] as const))(
    '%s: saved, loaded and continued, gives the same bits as undisturbed',
    (_name, optimizer) => {
      const [whole, first, second] = [new ParameterStore(SPECS), new ParameterStore(SPECS), new ParameterStore(SPECS)];
      const keep = Uint8Array.from({ length: 85 }, (_, i) => i % 3);
      for (const store of [whole, first]) {
        store.setMask('fc.weight', keep);
        train(store, optimizer, 1, 10);
      }
      train(second, adam(), 1, 2);
      second.load(structuredClone(first.state()));
      train(whole, optimizer, 11, 20);
      train(second, optimizer, 11, 20);
      expect(second.mask('fc.weight')).toEqual(keep);
      const { mean: _, square: __, ...kept } = bitsOf(second);
      expect(optimizer.buffers.includes('mean') ? bitsOf(second) : kept).toEqual(bitsOf(whole));
    },
  );

  it('leave the gaps between parameters zero', () => {
    const store = new ParameterStore(SPECS);
    train(store, adamW(), 1, 5);
    for (const buffer of Object.values(store.state().buffers)) {
      for (const view of store.views(buffer).values()) view.fill(0);
      expect(buffer.some((v) => v !== 0)).toBe(false);
    }
  });

  it('take factors of a parameter on its gradient and rate, and a limit of its gradient', () => {
    const store = new ParameterStore([
      { name: 'a', dims: [1], gradientScale: 0.5 },
      { name: 'b', dims: [1], learningRate: 4 },
      { name: 'c', dims: [1], gradientScale: 4, gradientLimit: 2 },
    ]);
    for (const { gradient } of store.parameters) gradient.fill(1);
    const norm = updateParameters(store, sgd(), { step: 1, learningRate: 0.5, divisor: 1 });
    expect(norm).toBeCloseTo(Math.hypot(0.5, 1, 2), 12);
    expect(store.parameters.map((p) => p.values[0])).toEqual([-0.25, -2, -1]);
    expect(store.gradients.every((g) => g === 0)).toBe(true);
  });

  it('stop at a gradient that is not finite, with its name, and change nothing', () => {
    const store = new ParameterStore(SPECS);
    const before = store.snapshot();
    store.get('fc.weight').gradient[42] = -Infinity;
    expect(() => updateParameters(store, adam(), { step: 7, learningRate: 0.1 })).toThrow(
      'Training diverged at step 7: the gradient of "fc.weight" holds -Infinity at element 42.',
    );
    expect(store.values).toEqual(before);
    // A pruned element has no gradient to be wrong.
    store.setMask('fc.weight', new Uint8Array(85));
    expect(updateParameters(store, adam(), { step: 7, learningRate: 0.1 })).toBe(0);
  });

  it('refuse states of other models, and change nothing', () => {
    const store = new ParameterStore(SPECS);
    const before = bitsOf(store);
    const state = store.state();
    const other = new ParameterStore([...SPECS.slice(0, 3), { name: 'fc.weight', dims: [5, 17] }]);
    expect(() => store.load(other.state())).toThrow(
      'parameter 4 was "fc.weight" [5, 17] at 64, and is "fc.weight" [17, 5] at 64 here.',
    );
    expect(() => store.load({ ...state, parameters: state.parameters.slice(1) })).toThrow(
      'parameter 1 was "conv.bias" [3] at 160',
    );
    expect(() => store.load({ ...state, buffers: {} })).toThrow('The saved values: 0 elements where 192 are needed.');
    expect(() => store.load({ ...state, masks: { other: new Uint8Array(3) } })).toThrow('mask of "other"');
    expect(bitsOf(store)).toEqual(before);
  });

  it('refuse options out of range', () => {
    expect(() => sgd({ momentum: 1 })).toThrow('The option momentum is 1: give a number from 0 up to, but not, 1.');
    expect(() => adamW({ betas: [0.9, Number.NaN] })).toThrow('The option betas is NaN');
    expect(() => updateAverage(new ParameterStore(SPECS), 1, 1)).toThrow('The option decay is 1');
  });
});

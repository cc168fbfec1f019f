import {
  type Feeds,
  GraphBuilder,
  type HostTensor,
  inferTypes,
  type Model,
  seededRandom,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/check-gradient.js';
import { Emitter } from '../emitter.js';
import { quickenConvolutions } from './quicken.js';

const engine = nodeEngine();
afterAll(() => engine.close());

interface Case {
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly attributes: Readonly<Record<string, number | readonly number[]>>;
  readonly withBias?: boolean;
}

/** Between other nodes, so that the order of the graph matters. */
function convolution({ x, w, attributes, withBias }: Case): Model {
  const b = new GraphBuilder();
  const inputs = [b.input('x', 'float32', x), b.input('w', 'float32', w)];
  if (withBias) inputs.push(b.input('b', 'float32', [w[0] as number]));
  const [first, ...rest] = inputs as [Value, ...Value[]];
  const y = b.op('Neg', [b.op('Conv', [b.op('Add', [first, first]), ...rest], attributes)]);
  return b.output('y', y, 'float32').model();
}

async function run(model: Model, feeds: Feeds): Promise<Float32Array> {
  const session = await engine.open(model);
  const { y } = await session.run(feeds);
  await session.close();
  return y?.data as Float32Array;
}

/** Small whole numbers: the definition is exact with them. */
function feedsOf({ x, w, withBias }: Case): Feeds {
  const random = seededRandom(5);
  const whole = (dims: readonly number[]): HostTensor => ({
    dtype: 'float32',
    dims,
    data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.integer(9) - 4),
  });
  return { x: whole(x), w: whole(w), ...(withBias ? { b: whole(w.slice(0, 1)) } : {}) };
}

async function check(test: Case, tolerance: number): Promise<void> {
  const model = convolution(test);
  const expected = await run(model, feedsOf(test));
  const copy = model.clone();
  quickenConvolutions(new Emitter(copy.graph, inferTypes(copy)));
  expect([...copy.graph.nodes()].map((node) => node.opType)).not.toContain('Conv');
  const values = await run(copy, feedsOf(test));
  const largest = expected.reduce((max, v) => Math.max(max, Math.abs(v)), 1);
  expect(values.length).toBe(expected.length);
  const worst = values.reduce((max, v, i) => Math.max(max, Math.abs(v - expected[i]!)), 0);
  expect(worst / largest).toBeLessThanOrEqual(tolerance);
  expect(await checkGradient(engine, copy, { samples: 12 })).toBeLessThan(1e-3);
}

describe('depthwise convolutions of small pictures', () => {
  const [x, w] = [
    [3, 4, 6, 5],
    [4, 1, 3, 3],
  ];
  it.each<[string, Case]>([
    ['padded', { x, w, attributes: { group: 4, pads: [1, 1, 1, 1] } }],
    ['strided, with a bias', { x, w, attributes: { group: 4, pads: [1, 0, 1, 2], strides: [2, 2] }, withBias: true }],
    ['dilated', { x, w, attributes: { group: 4, dilations: [2, 2], pads: [2, 1, 0, 1] } }],
  ])('%s', (_, test) => check(test, 0));
});

describe('3x3 convolutions of small pictures', () => {
  it.each<[string, Case]>([
    ['8 x 8', { x: [2, 64, 8, 8], w: [64, 64, 3, 3], attributes: { pads: [1, 1, 1, 1] } }],
    ['4 x 4, with a bias', { x: [2, 64, 4, 4], w: [48, 64, 3, 3], attributes: { pads: [1, 1, 1, 1] }, withBias: true }],
    ['14 x 13', { x: [3, 32, 14, 13], w: [40, 32, 3, 3], attributes: { pads: [1, 1, 1, 1] } }],
    ['7 x 5 to 8 x 3', { x: [2, 128, 7, 5], w: [96, 128, 3, 3], attributes: { pads: [2, 0, 1, 0] } }],
  ])('%s', (_, test) => check(test, 1e-5));

  it('are left alone where their channels are few or their pictures large', () => {
    for (const [channels, size] of [
      [16, 8],
      [64, 32],
    ] as const) {
      const model = convolution({ x: [2, channels, size, size], w: [channels, channels, 3, 3], attributes: {} });
      quickenConvolutions(new Emitter(model.graph, inferTypes(model)));
      expect([...model.graph.nodes()].map((node) => node.opType)).toContain('Conv');
    }
  });
});

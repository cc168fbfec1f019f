import { type HostTensor, seededRandom } from '@pare/core';
import { expect, it } from 'vitest';
import { rightAnswers } from './accuracy.js';

const logits = (dims: number[], data: number[]): HostTensor => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from(data),
});
const labels = (dims: number[], data: number[]): HostTensor => ({
  dtype: 'int64',
  dims,
  data: BigInt64Array.from(data, BigInt),
});

it('counts the samples whose largest number is at the class of the label', () => {
  const answers = logits([3, 2], [1, 2, 5, 4, 3, 3]);
  expect(rightAnswers(answers, labels([3], [1, 1, 0]))).toEqual({ right: 2, counted: 3 });
  expect(rightAnswers(answers, labels([3], [1, 0, 0]), { count: 1 })).toEqual({ right: 1, counted: 1 });
  expect(rightAnswers(answers, labels([3], [1, -1, 1]), { ignoreIndex: -1 })).toEqual({ right: 1, counted: 2 });
});

it.each([
  [[2, 3, 4, 5], 1],
  [[2, 4, 3], -1],
  [[2, 4, 3], 2],
])('finds the classes of %j on axis %i', (dims, axis) => {
  const random = seededRandom(3);
  const size = dims.reduce((a, b) => a * b, 1);
  const tensor = logits(dims, Array.from({ length: size }, random.normal));
  const at = (axis + dims.length) % dims.length;
  const stride = dims.slice(at + 1).reduce((a, b) => a * b, 1);
  // The answer of each position, found by its coordinates.
  const best = new Map<string, [number, number]>();
  for (let i = 0; i < size; i++) {
    const c = Math.floor(i / stride) % 3;
    const coordinates = dims.map(
      (_, d) => Math.floor(i / dims.slice(d + 1).reduce((a, b) => a * b, 1)) % (dims[d] as number),
    );
    const key = coordinates.filter((_, d) => d !== at).join();
    const value = tensor.data[i] as number;
    if (value > (best.get(key)?.[1] ?? -Infinity)) best.set(key, [c, value]);
  }
  const truth = [...best].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true })).map(([, [c]]) => c);
  const outer = dims.filter((_, d) => d !== at);
  expect(rightAnswers(tensor, labels(outer, truth))).toEqual({ right: truth.length, counted: truth.length });
  const wrong = truth.map((c, i) => (i % 2 ? c : (c + 1) % 3));
  expect(rightAnswers(tensor, labels(outer, wrong)).right).toBe(Math.floor(truth.length / 2));
});

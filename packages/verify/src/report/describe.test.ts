import { expect, it } from 'vitest';
import { describeOptions, describeStep, groupNotes } from './describe.js';

it.each([
  ['quantize-dynamic', { weights: 'uint8' }, /^Quantized weights to uint8 beforehand/],
  ['quantizeWeights', { bits: 4, blockSize: 32 }, /to 4 bits with a scale for every 32 values/],
  ['quantize-static', { method: 'entropy' }, /calibration data \(entropy\)\.$/],
  ['float16', { keepIo: false }, /^Stored weights and computed in 16-bit floats\.$/],
  ['constructor', {}, /^Applied constructor\.$/],
])('%s %j in words', (transform, options, words) => {
  expect(describeStep({ transform, options, notes: [] })).toMatch(words);
});

it('tells options by name and value, each short, and leaves out what says nothing', () => {
  const options = { bits: 4, include: ['MatMul'], exclude: [], seed: undefined, note: 'x'.repeat(200) };
  expect(describeOptions(options).map((o) => o.slice(0, 20))).toEqual([
    'bits 4',
    'include ["MatMul"]',
    `note ${'x'.repeat(15)}`,
  ]);
  expect(describeOptions(options)[2]?.length).toBe(85);
});

it('puts together notes that differ in names and numbers only', () => {
  const notes = [
    'Constant "a" became 3.',
    'Slice "s" gives [0, 1].',
    'Constant "b" became 12.',
    'Slice "t" gives [7].',
    'Done.',
  ];
  expect(groupNotes(notes)).toEqual([
    { note: 'Constant "a" became 3.', count: 2 },
    { note: 'Slice "s" gives [0, 1].', count: 2 },
    { note: 'Done.', count: 1 },
  ]);
});

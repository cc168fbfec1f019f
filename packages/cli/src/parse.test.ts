import { PareError } from '@pare/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytes, columns, count } from './format.js';
import { parseBytes, parseCount, parseDims, parseFraction, parseMs, parseShapes } from './parse.js';

it.each([
  ['1%', 0.01],
  ['0.5 %', 0.005],
  ['0.01', 0.01],
  ['-1%', -0.01],
])('fraction %s', (text, value) => expect(parseFraction(text, '--x')).toBeCloseTo(value, 12));

it.each([
  ['10MB', 1e7],
  ['512KiB', 524_288],
  ['1.5 gb', 1.5e9],
  ['7', 7],
])('bytes %s', (text, value) => expect(parseBytes(text, '--x')).toBe(value));

it.each([
  ['100ms', 100],
  ['0.5s', 500],
  ['20', 20],
])('time %s', (text, value) => expect(parseMs(text, '--x')).toBe(value));

it('shapes and dimensions, whatever the names', () => {
  expect(parseShapes(['image=1,3,?, 224', 's=', 'a=b=2'])).toEqual({ image: [1, 3, null, 224], s: [], 'a=b': [2] });
  expect(parseDims(['batch=1', 'x=y=3'])).toEqual({ batch: 1, 'x=y': 3 });
});

it('takes a number or says how to write it: nothing else comes out', () => {
  const parsers = [parseFraction, parseBytes, parseMs, parseCount] as const;
  fc.assert(
    fc.property(
      fc.constantFrom(...parsers),
      fc.oneof(
        fc.string(),
        fc.constantFrom('', ' ', '%', 'NaN', 'Infinity', '1e999', '0x10', '5%%', '1,5', '-1', 'MB'),
      ),
      (parse, text) => {
        try {
          expect(Number.isFinite(parse(text, '--option'))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(PareError);
          expect((error as PareError).message).toMatch(/^--option .*: write /s);
        }
      },
    ),
    { seed: 5, numRuns: 2000 },
  );
});

it('prints numbers and tables', () => {
  expect([0, 999, 1000, 10_820_000, 435e6, 2.1e9].map(bytes)).toEqual([
    '0 B',
    '999 B',
    '1.00 kB',
    '10.8 MB',
    '435.0 MB',
    '2.10 GB',
  ]);
  expect([812, 77_710, 3.5e6].map(count)).toEqual(['812', '77.71 k', '3.50 M']);
  expect(
    columns([
      ['a', 'bb'],
      ['ccc', '1'],
    ]),
  ).toBe('a    bb\nccc   1');
});

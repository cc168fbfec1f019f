import { PareError } from '@pare/core';

fc.configureGlobal({ seed: 20 });

import type { Sample } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCsv } from './csv.js';
import { jsonlDataset, tensorOfJson } from './jsonl.js';

describe('CSV', () => {
  const quote = (field: string): string =>
    /[",\r\n]/.test(field) || field === '' ? `"${field.replaceAll('"', '""')}"` : field;
  const field = fc.string({ unit: fc.constantFrom('a', 'ß', '"', ',', '\n', '\r', ' ', '1'), maxLength: 6 });

  it('gives back what was written after RFC 4180', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(field, field), { maxLength: 6 }),
        fc.constantFrom('\n', '\r\n'),
        (rows, newline) => {
          const text = [['one', 'two'], ...rows].map((row) => row.map(quote).join(',')).join(newline);
          expect(parseCsv(text)).toEqual(rows.map(([one, two]) => ({ one, two })));
        },
      ),
    );
  });
  it.each([
    ['', /is empty/],
    ['a,a\n1,2', /two columns named "a"/],
    ['a,b\n1', /Line 2 of list\.csv has 1 fields, its header has 2/],
    ['a\n"x\n', /Line 2 of list\.csv opens a quote/],
    ['a\n"x"y\n', /Line 2 of list\.csv has text after a closing quote/],
    ['a,b\n"1\n2",3\n4', /Line 4 of list\.csv/],
  ])('refuses %j', (text, message) => {
    expect(() => parseCsv(text, 'list.csv')).toThrow(message);
  });
  it('skips a byte order mark and empty lines', () => {
    expect(parseCsv('\ufefffile,label\r\n\r\na.png,1\r\n')).toEqual([{ file: 'a.png', label: '1' }]);
  });
  it('any text gives rows or a typed error', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r'), maxLength: 30 }), (text) => {
        try {
          parseCsv(text);
        } catch (error) {
          expect(error).toBeInstanceOf(PareError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('JSON lines', () => {
  it('reads tokens, floats, texts, labels and ids', async () => {
    const text =
      '{"ids": [[1, 2, 3]], "mask": [true, false], "x": [0.5, 1], "label": 2, "id": "first"}\n\n{"ids": [4], "q": "hi"}\n';
    const data = jsonlDataset(text, 'val.jsonl');
    const samples: Sample[] = [];
    for await (const sample of data) samples.push(sample);
    expect(samples[0]).toEqual({
      inputs: {
        ids: { dtype: 'int64', dims: [1, 3], data: BigInt64Array.of(1n, 2n, 3n) },
        mask: { dtype: 'bool', dims: [2], data: Uint8Array.of(1, 0) },
        x: { dtype: 'float64', dims: [2], data: Float64Array.of(0.5, 1) },
      },
      label: 2,
      id: 'first',
    });
    expect(samples[1]?.inputs.q).toEqual({ dtype: 'string', dims: [], data: ['hi'] });
    expect(samples[1]?.id).toBe('line 3 of val.jsonl');
  });
  it.each([
    ['{"x": [1, 2', /Line 1 of v\.jsonl is not JSON/],
    ['[1]', /must be an object/],
    ['{"label": 1}', /has no model input/],
    ['{"x": [[1, 2], [3]]}', /Key "x" on line 1 of v\.jsonl is ragged/],
    ['{"x": [1, [2]]}', /ragged/],
    ['{"x": [1, "a"]}', /numbers only/],
    ['{"x": null}', /numbers only/],
    ['{"x": []}', /empty array/],
  ])('refuses %s', (text, message) => {
    expect(() => jsonlDataset(text, 'v.jsonl')).toThrow(message);
  });
  it('any JSON value gives a tensor of its size or a typed error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          const tensor = tensorOfJson(value);
          expect(tensor.data.length).toBe(([value] as unknown[]).flat(40 as 1).length);
        } catch (error) {
          expect(error).toBeInstanceOf(PareError);
        }
      }),
      { numRuns: 500 },
    );
  });
  it('deep nesting is refused', () => {
    const deep = JSON.parse(`${'['.repeat(1000)}1${']'.repeat(1000)}`);
    expect(() => tensorOfJson(deep)).toThrow(/nested more than 32/);
  });
});

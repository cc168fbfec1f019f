import { readFileSync } from 'node:fs';

fc.configureGlobal({ seed: 20 });

import type { Sample } from '@pare/core';
import { type HostTensor, memorySource, PareError } from '@pare/core';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { encodeNpy } from './npy.js';
import { arraysDataset, encodeNpz, npyDataset, npzDataset } from './npz.js';
import { crc32, readZipEntries, readZipEntry } from './zip.js';

const golden = JSON.parse(readFileSync(new URL('../../test/fixtures/numpy.json', import.meta.url), 'utf8')).npz as {
  stored: string;
  deflated: string;
  x: number[];
  state: number[];
  labels: number[];
};
const archive = (name: 'stored' | 'deflated'): Uint8Array => new Uint8Array(Buffer.from(golden[name], 'base64'));
const open = (bytes: Uint8Array) => npzDataset(memorySource(bytes, 'val.npz'));
const all = async (samples: AsyncIterable<Sample>): Promise<Sample[]> => {
  const list: Sample[] = [];
  for await (const sample of samples) list.push(sample);
  return list;
};
const floats = (dims: number[]): HostTensor => ({
  dtype: 'float32',
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)),
});

// numpy.savez writes 64-bit sizes into every local header; `state` is in Fortran order.
describe.each(['stored', 'deflated'] as const)('numpy archive, %s', (kind) => {
  it('gives the samples in order, without the first axis', async () => {
    const data = await open(archive(kind));
    expect(data.size).toBe(5);
    const samples = await all(data);
    expect(samples.map((s) => s.label)).toEqual(golden.labels);
    expect(samples.flatMap((s) => Array.from(s.inputs.x?.data as Float32Array))).toEqual(golden.x.map(Math.fround));
    expect(samples.flatMap((s) => Array.from(s.inputs.state?.data as BigInt64Array, Number))).toEqual(golden.state);
    expect(samples[0]?.inputs.x?.dims).toEqual([2, 3]);
    expect(await data.at?.(3)).toEqual(samples[3]);
  });
});

it('reads stored arrays without holding the file', async () => {
  const bytes = encodeNpz({ x: floats([1000, 1000]) });
  const source = memorySource(bytes, 'big.npz');
  let read = 0;
  const counting = {
    ...source,
    read: (offset: number, length: number) => {
      read += length;
      return source.read(offset, length);
    },
  };
  const data = await npzDataset(counting);
  await data.at?.(500);
  expect(read).toBeLessThan(300_000);
});

describe('refuses with one sentence', () => {
  it.each([
    [
      'different numbers of samples',
      { a: floats([3, 2]), b: floats([4, 2]) },
      /"b" of val\.npz has 4 samples, but "a" has 3/,
    ],
    ['labels only', { labels: floats([3]) }, /holds only "labels"/],
    ['scalars', { a: floats([3, 2]), rate: floats([]) }, /"rate" of val\.npz is a single number/],
    ['empty samples', { a: floats([1_000_000, 0]) }, /its samples are empty/],
  ])('%s', async (_, arrays, message) => {
    await expect(open(encodeNpz(arrays as Record<string, HostTensor>))).rejects.toThrow(message);
  });
  it('things that are no archive', async () => {
    await expect(open(new Uint8Array())).rejects.toThrow(/val\.npz is not a zip archive/);
    await expect(open(new Uint8Array(100))).rejects.toThrow(/its directory is missing/);
    await expect(open(zipSync({ 'readme.txt': new Uint8Array(3) }))).rejects.toThrow(/without arrays/);
    await expect(open(zipSync({ 'x.npy': new Uint8Array(3) }))).rejects.toThrow(/is not a NumPy/);
  });
  it('damaged contents', async () => {
    const bytes = archive('deflated');
    const entries = await readZipEntries(memorySource(bytes));
    const at = (entries[0]?.headerOffset as number) + 60;
    bytes[at] = (bytes[at] as number) ^ 0xff;
    await expect(open(bytes)).rejects.toThrow(/checksum/);
  });
});

it('a single .npy is a dataset of one array', async () => {
  const data = await npyDataset(memorySource(encodeNpy(floats([4, 3])), 'x.npy'));
  expect((await all(data)).map((s) => s.inputs.array?.dims)).toEqual([[3], [3], [3], [3]]);
});

it('arrays in memory are one, too; larger labels stay tensors', async () => {
  const masks: HostTensor = { dtype: 'uint8', dims: [2, 2], data: Uint8Array.of(1, 2, 3, 4) };
  const samples = await all(arraysDataset({ x: floats([2, 5]), labels: masks }));
  expect(samples[1]?.label).toEqual({ dtype: 'uint8', dims: [2], data: Uint8Array.of(3, 4) });
});

it('mutated archives give a typed error or samples of the right shape', async () => {
  const originals = [archive('stored'), archive('deflated')];
  const step = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...originals),
      fc.array(step, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      async (o, changes, cut) => {
        const bytes = cut ? o.slice(0, Math.floor((changes[0] as [number, number])[0] * o.length)) : o.slice();
        for (const [where, value] of changes) if (bytes.length) bytes[Math.floor(where * (bytes.length - 1))] = value;
        try {
          const data = await open(bytes);
          for await (const sample of data) {
            for (const t of Object.values(sample.inputs)) expect(t.data.length).toBe(t.dims.reduce((a, b) => a * b, 1));
          }
        } catch (error) {
          expect(error).toBeInstanceOf(PareError);
        }
      },
    ),
    { numRuns: 1500 },
  );
});

it('a lying size cannot make it allocate without bound', async () => {
  // A directory that promises 4 GB out of a few bytes.
  const bytes = archive('deflated');
  const view = new DataView(bytes.buffer);
  for (let i = 0; i + 46 < bytes.length; i++) {
    if (view.getUint32(i, true) === 0x02014b50) view.setUint32(i + 24, 0xfffffff0, true);
  }
  await expect(open(bytes)).rejects.toThrow(/checksum/);
});

it('has the CRC-32 of the standard', async () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  const source = memorySource(zipSync({ a: new TextEncoder().encode('abc'.repeat(50)) }));
  const [entry] = await readZipEntries(source);
  expect(new TextDecoder().decode(await readZipEntry(source, entry as NonNullable<typeof entry>))).toBe(
    'abc'.repeat(50),
  );
});

it('reads 64-bit archives', async () => {
  // A zip64 archive by hand: one stored entry whose sizes and offset stand in the extra field, and a 64-bit end record.
  const content = encodeNpy(floats([2, 3]));
  const name = new TextEncoder().encode('x.npy');
  const local = new DataView(new ArrayBuffer(30));
  local.setUint32(0, 0x04034b50, true);
  local.setUint16(26, name.length, true);
  const offset = 0;
  const central = new DataView(new ArrayBuffer(46));
  central.setUint32(0, 0x02014b50, true);
  central.setUint32(16, crc32(content), true);
  central.setUint32(20, 0xffffffff, true);
  central.setUint32(24, 0xffffffff, true);
  central.setUint16(28, name.length, true);
  central.setUint16(30, 28, true);
  central.setUint32(42, 0xffffffff, true);
  const extra = new DataView(new ArrayBuffer(28));
  extra.setUint16(0, 1, true);
  extra.setUint16(2, 24, true);
  extra.setUint32(4, content.length, true);
  extra.setUint32(12, content.length, true);
  extra.setUint32(20, offset, true);
  const start = 30 + name.length + content.length;
  const size = 46 + name.length + 28;
  const end64 = new DataView(new ArrayBuffer(56));
  end64.setUint32(0, 0x06064b50, true);
  end64.setUint32(32, 1, true);
  end64.setUint32(40, size, true);
  end64.setUint32(48, start, true);
  const locator = new DataView(new ArrayBuffer(20));
  locator.setUint32(0, 0x07064b50, true);
  locator.setUint32(8, start + size, true);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(10, 0xffff, true);
  end.setUint32(12, 0xffffffff, true);
  end.setUint32(16, 0xffffffff, true);
  const parts = [local, name, content, central, name, extra, end64, locator, end];
  const bytes = Buffer.concat(parts.map((p) => Buffer.from(p.buffer, p.byteOffset, p.byteLength)));
  const data = await open(new Uint8Array(bytes));
  expect(data.size).toBe(2);
  expect((await data.at?.(1))?.inputs.x?.dims).toEqual([3]);
});

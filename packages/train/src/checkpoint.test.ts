import { PareError, seededRandom } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from './checkpoint.js';
import { crc32 } from './crc32.js';
import { adamW, updateParameters } from './optimizer/index.js';
import { ParameterStore } from './parameters.js';

const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
/** Bits of floats, so that NaN payloads and signs of zeros count. */
const bits = (x: Float32Array): Uint32Array => new Uint32Array(x.slice().buffer);

const name = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('a/b', '__proto__', 'bn.1/mean', 'é漢', ''));
const floats = fc.array(fc.float(), { maxLength: 20 }).map((v) => Float32Array.from(v));
const bytes = fc.uint8Array({ maxLength: 20 });
const number = fc.oneof(fc.double(), fc.constantFrom(-0, Number.NaN, Infinity, -Infinity));
const record = <T>(value: fc.Arbitrary<T>) =>
  fc.array(fc.tuple(name, value), { maxLength: 4 }).map((entries) => Object.fromEntries(entries) as Record<string, T>);
const statistics = record(floats).map((entries) => new Map(Object.entries(entries)));
const checkpoints: fc.Arbitrary<Checkpoint> = fc.record({
  run: fc.string(),
  step: fc.nat(),
  parameters: fc.record({
    parameters: fc.array(fc.record({ name, dims: fc.array(fc.nat(9), { maxLength: 4 }), offset: fc.nat() }), {
      maxLength: 4,
    }),
    buffers: record(floats),
    masks: record(bytes),
  }),
  statistics,
  best: fc.option(fc.record({ values: floats, statistics }), { nil: undefined }),
  progress: fc.record({ epoch: fc.nat(), history: fc.array(number), random: fc.array(fc.nat()), more: fc.string() }),
});

function small(): Checkpoint {
  const store = new ParameterStore([{ name: 'w', dims: [5, 3] }]);
  const random = seededRandom(1);
  for (let i = 0; i < 15; i++) store.get('w').gradient[i] = random.normal();
  updateParameters(store, adamW(), { step: 1, learningRate: 0.1 });
  store.setMask(
    'w',
    Uint8Array.from({ length: 15 }, (_, i) => i % 2),
  );
  const statistics = new Map([['bn.mean', Float32Array.of(1, 2, 3)]]);
  const best = { values: store.snapshot(), statistics };
  return { run: 'abc', step: 1, parameters: store.state(), statistics, best, progress: { epoch: 0, loss: [2.5] } };
}

describe('crc32', () => {
  it('gives the published check value', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
  });

  it('agrees with the definition, bit by bit, and continues', () => {
    const slow = (b: Uint8Array): number => {
      let crc = 0xffffffff;
      for (const byte of b) for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (((crc ^ (byte >> i)) & 1) * 0xedb88320);
      return ~crc >>> 0;
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(70), (b, at) => {
        expect(crc32(b)).toBe(slow(b));
        expect(crc32(b.subarray(at), crc32(b.subarray(0, at)))).toBe(slow(b));
      }),
      { seed: 1 },
    );
  });
});

describe('a checkpoint', () => {
  it('comes back bit for bit, whatever is in it and wherever it lies', () => {
    fc.assert(
      fc.property(checkpoints, fc.nat(9), (checkpoint, shift) => {
        const file = joined(encodeCheckpoint(checkpoint));
        const shifted = Buffer.alloc(file.byteLength + shift).subarray(shift);
        shifted.set(file);
        const back = decodeCheckpoint(shifted);
        shifted.fill(0);
        expect(back).toEqual(checkpoint);
        for (const [key, buffer] of Object.entries(checkpoint.parameters.buffers)) {
          expect(bits(back.parameters.buffers[key]!)).toEqual(bits(buffer));
        }
      }),
      { seed: 2, numRuns: 200 },
    );
  });

  it('is refused when it ends early or goes on, wherever', () => {
    const file = joined(encodeCheckpoint(small()));
    for (let length = 0; length < file.byteLength; length++) {
      expect(() => decodeCheckpoint(file.subarray(0, length), '"x.checkpoint"'), `${length}`).toThrow(
        /^"x\.checkpoint" is a damaged checkpoint: it ends at byte \d+( of \d+)?\. Resume from an earlier one\.$/,
      );
    }
    expect(() => decodeCheckpoint(joined([file, new Uint8Array(1)]))).toThrow('it goes on after byte');
  });

  it('is refused when any bit is another', () => {
    const file = joined(encodeCheckpoint(small()));
    for (let bit = 0; bit < file.byteLength * 8; bit++) {
      file[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeCheckpoint(file), `${bit}`).toThrow(PareError);
      file[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(decodeCheckpoint(file)).toEqual(small());
  });

  it('is refused when bytes are overwritten, swapped or cut out', () => {
    const file = joined(encodeCheckpoint(small()));
    const place = fc.nat(file.byteLength - 1);
    fc.assert(
      fc.property(place, fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.nat(64), (at, insert, cut) => {
        const changed = joined([file.subarray(0, at), insert, file.subarray(at + cut)]);
        fc.pre(Buffer.compare(changed, file) !== 0);
        expect(() => decodeCheckpoint(changed)).toThrow(PareError);
      }),
      { seed: 3, numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        expect(() => decodeCheckpoint(noise)).toThrow(PareError);
      }),
      { seed: 4 },
    );
  });

  it('is refused when its checksums are right and its header is not', () => {
    const forged = (header: unknown, version = 1): Uint8Array => {
      const [first = new Uint8Array(), ...rest] = encodeCheckpoint(small());
      const text = (typeof header === 'string' ? header : JSON.stringify(header)).padEnd(first.byteLength - 20);
      const file = joined([first.subarray(0, 20), new TextEncoder().encode(text), ...rest]);
      const view = new DataView(file.buffer);
      view.setUint32(8, version, true);
      view.setUint32(12, text.length, true);
      const end = 20 + text.length;
      view.setUint32(16, crc32(file.subarray(20, end), crc32(file.subarray(0, 16))), true);
      return file;
    };
    const right = { run: '', step: 1, parameters: [], arrays: [], progress: 0 };
    const array = { name: 'buffers/values', type: 'float32', length: 1e9, crc: 0 };
    for (const header of [
      null,
      '{',
      7,
      [],
      { ...right, step: -1 },
      { ...right, parameters: [null] },
      { ...right, arrays: [{ ...array, type: 'toString' }] },
      { ...right, arrays: [{ ...array, length: 0.5 }] },
    ]) {
      expect(() => decodeCheckpoint(forged(header)), JSON.stringify(header)).toThrow('its header lacks something');
    }
    expect(() => decodeCheckpoint(forged({ ...right, arrays: [array] }))).toThrow(/ends at byte \d+ of 4000000/);
    expect(() => decodeCheckpoint(forged(right, 2))).toThrow('has format 2 and this Pare reads format 1');
    expect(() => decodeCheckpoint(new TextEncoder().encode('not a checkpoint at all'))).toThrow(
      'is no checkpoint of Pare',
    );
  });
});

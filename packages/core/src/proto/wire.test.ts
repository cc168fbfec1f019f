import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readUtf8, toSigned, utf8Length, varintLength, writeUtf8, writeVarint } from './wire.js';

/** The definition, without care for speed: seven bits a byte, low ones first, of the 64-bit two's complement. */
function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    bytes.push(Number(rest & 127n) + (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}

const integers = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.integer().map(BigInt),
  fc.nat({ max: 63 }).chain((n) => fc.constantFrom(2n ** BigInt(n) - 1n, 2n ** BigInt(n), -(2n ** BigInt(n)))),
);

test('varints of numbers and bigints are the ones of the definition', () => {
  fc.assert(
    fc.property(integers, (value) => {
      const expected = varint(value);
      const forms: (number | bigint)[] = Number.isSafeInteger(Number(value)) ? [value, Number(value)] : [value];
      for (const form of forms) {
        const target = new Uint8Array(12);
        expect(varintLength(form)).toBe(expected.length);
        expect(writeVarint(target, 1, form)).toBe(1 + expected.length);
        expect([...target.subarray(1, 1 + expected.length)]).toEqual(expected);
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
});

test('unsigned 64-bit values become the signed ones with the same bits, numbers where exact', () => {
  expect(toSigned(2n ** 64n - 1n)).toBe(-1);
  expect(toSigned(2n ** 63n)).toBe(-(2n ** 63n));
  expect(toSigned(2n ** 62n)).toBe(2n ** 62n);
  expect(toSigned(5)).toBe(5);
});

test('any bytes survive as text, valid UTF-8 as the text it is', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.string({ unit: 'grapheme', maxLength: 30 }).map((text) => new TextEncoder().encode(text)),
    // Text with one byte broken.
    fc
      .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }), fc.nat(), fc.nat(255))
      .map(([text, at, byte]) => {
        const encoded = new TextEncoder().encode(text);
        encoded[at % encoded.length] = byte;
        return encoded;
      }),
  );
  fc.assert(
    fc.property(bytes, (original) => {
      const text = readUtf8(original);
      const back = new Uint8Array(utf8Length(text));
      expect(writeUtf8(text, back, 0)).toBe(original.length);
      expect(back).toEqual(original);
      let truth: string | undefined;
      try {
        truth = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(original);
      } catch {}
      if (truth !== undefined) expect(text).toBe(truth);
    }),
    { seed: 2, numRuns: 3000 },
  );
});

test('different invalid names stay different; a byte order mark stays', () => {
  expect(readUtf8(new Uint8Array([0x61, 0xff]))).not.toBe(readUtf8(new Uint8Array([0x61, 0xfe])));
  expect(readUtf8(new Uint8Array([0xef, 0xbb, 0xbf, 0x61]))).toBe('\ufeffa');
});

test('text is written as TextEncoder writes it, lone surrogates included', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom('', '\ud800', '\udfff', '\ud83d'),
      (a, b) => {
        const text = a + b;
        const target = new Uint8Array(utf8Length(text));
        writeUtf8(text, target, 0);
        expect(target).toEqual(new TextEncoder().encode(text));
      },
    ),
    { seed: 3, numRuns: 1000 },
  );
});

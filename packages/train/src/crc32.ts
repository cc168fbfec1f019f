/** Slicing by 8 (Kounavis and Berry 2005): table k advances the remainder of a byte by k further bytes. */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  (TABLES[0] as Uint32Array)[byte] = crc;
}
for (let k = 1; k < 8; k++) {
  const [first, before, table] = [TABLES[0], TABLES[k - 1], TABLES[k]] as [Uint32Array, Uint32Array, Uint32Array];
  for (let byte = 0; byte < 256; byte++) {
    const crc = before[byte] as number;
    table[byte] = (crc >>> 8) ^ (first[crc & 255] as number);
  }
}

/**
 * CRC-32 of `bytes` (ISO-HDLC: zip, gzip, PNG). Finds every changed bit and every burst of up to 32, and other damage but for
 * one in 2^32. `crc` continues a sum of what came before.
 */
export function crc32(bytes: Uint8Array, crc = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.byteLength - (bytes.byteLength % 8);
  let c = ~crc;
  let at = 0;
  for (; at < whole; at += 8) {
    const a = c ^ view.getInt32(at, true);
    const b = view.getInt32(at + 4, true);
    c =
      t7[a & 255]! ^
      t6[(a >>> 8) & 255]! ^
      t5[(a >>> 16) & 255]! ^
      t4[a >>> 24]! ^
      t3[b & 255]! ^
      t2[(b >>> 8) & 255]! ^
      t1[(b >>> 16) & 255]! ^
      t0[b >>> 24]!;
  }
  for (; at < bytes.byteLength; at++) c = (c >>> 8) ^ t0[(c ^ bytes[at]!) & 255]!;
  return ~c >>> 0;
}

import { byteLength, type DType, dtypeInfo } from '../dtype.js';
import { elementCount } from '../ir/tensor.js';

type TypedField = 'float_data' | 'double_data' | 'int64_data' | 'uint64_data' | 'int32_data';

/** Which field of TensorProto other than `raw_data` holds elements of `dtype` (onnx.proto), and whether in fixed width. */
export function typedField(dtype: DType): { readonly field: TypedField; readonly fixedWidth: 0 | 4 | 8 } {
  switch (dtype) {
    case 'float32':
    case 'complex64':
      return { field: 'float_data', fixedWidth: 4 };
    case 'float64':
    case 'complex128':
      return { field: 'double_data', fixedWidth: 8 };
    case 'int64':
      return { field: 'int64_data', fixedWidth: 0 };
    case 'uint32':
    case 'uint64':
      return { field: 'uint64_data', fixedWidth: 0 };
    default:
      return { field: 'int32_data', fixedWidth: 0 };
  }
}

interface Part {
  readonly bytes: Uint8Array;
  /** Each element is preceded by its tag. */
  readonly tagged: boolean | undefined;
}

/**
 * The elements in `parts`, stretches of a typed field, in the form of `raw_data`. `int32_data` holds one element an entry,
 * for 4- and 2-bit types one byte of packed elements an entry, for 6-bit types one element in the low bits.
 * `wrong` is called when the parts hold `found` elements instead of `needed`.
 */
export function decodeTyped(
  dtype: DType,
  dims: readonly number[],
  parts: readonly Part[],
  wrong: (found: number, needed: number) => never,
): Uint8Array {
  const { fixedWidth } = typedField(dtype);
  const { bits } = dtypeInfo(dtype);
  const raw = new Uint8Array(byteLength(dtype, elementCount(dims)));
  const entry = bits === 6 ? 1 : Math.max(1, fixedWidth || bits / 8);
  const needed = bits === 6 ? elementCount(dims) : raw.byteLength / entry;
  const target = bits === 6 ? new Uint8Array(needed) : raw;

  let found = 0;
  for (const { bytes, tagged } of parts) {
    for (let at = 0; at < bytes.byteLength; found++) {
      if (tagged) at = varintEnd(bytes, at);
      const end = fixedWidth ? at + fixedWidth : varintEnd(bytes, at);
      if (end > bytes.byteLength) wrong(found, needed);
      if (found < needed) {
        if (fixedWidth) target.set(bytes.subarray(at, end), found * entry);
        else writeVarintBits(bytes, at, end, target, found * entry, entry);
      }
      at = end;
    }
  }
  if (found !== needed) wrong(found, needed);
  if (bits === 6) packSixBits(target, raw);
  return raw;
}

function varintEnd(bytes: Uint8Array, at: number): number {
  while ((bytes[at] as number) > 127) at++;
  return at + 1;
}

/** The low `width` bytes of the varint in `bytes[at..end]`, little-endian. */
function writeVarintBits(
  bytes: Uint8Array,
  at: number,
  end: number,
  target: Uint8Array,
  to: number,
  width: number,
): void {
  let low = 0;
  let high = 0;
  for (let shift = 0; at < end; at++, shift += 7) {
    const group = (bytes[at] as number) & 127;
    if (shift < 28) low |= group << shift;
    else if (shift === 28) {
      low |= group << 28;
      high = group >>> 4;
    } else if (shift < 64) high |= group << (shift - 32);
  }
  for (let i = 0; i < width; i++) target[to + i] = (i < 4 ? low >>> (8 * i) : high >>> (8 * (i - 4))) & 255;
}

/** One 6-bit element a byte into a stream of bits, low bits first. */
function packSixBits(elements: Uint8Array, raw: Uint8Array): void {
  for (const [i, element] of elements.entries()) {
    const bit = i * 6;
    const shifted = (element & 63) << (bit % 8);
    const at = Math.floor(bit / 8);
    raw[at] = (raw[at] as number) | (shifted & 255);
    if (shifted > 255) raw[at + 1] = (raw[at + 1] as number) | (shifted >> 8);
  }
}

import { arrayType, type DType, type TypedArray } from '../dtype.js';
import type { HostTensor } from '../engine.js';
import { PareError } from '../errors.js';
import { elementCount } from '../ir/tensor.js';

/** Value of the IEEE 754 binary16 number with bits `bits`. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const scratch = new DataView(new ArrayBuffer(4));

/** Bits of the binary16 number nearest to `value`, ties to even. */
export function numberToFloat16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return sign | 0x7e00;
  // 65520 is halfway between the largest finite number and the next one there would be: it rounds to infinity.
  if (magnitude >= 65520) return sign | 0x7c00;
  // In units of the last place the number is an integer: round there, ties to even, and let a carry move the exponent.
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 2 ** -30)));
  const units = roundHalfEven(magnitude / 2 ** (exponent - 10));
  return sign | (magnitude < 2 ** -14 ? units : ((exponent + 15) << 10) + units - 1024);
}

function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 === 1 ? r - 1 : r;
}

const float16Table = (() => {
  let table: Float32Array | undefined;
  return () => {
    table ??= Float32Array.from({ length: 65536 }, (_, bits) => float16ToNumber(bits));
    return table;
  };
})();

/** Elements as numbers; types that JavaScript holds as numbers are not copied. int64 beyond 2^53 is rounded. */
export type Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/** @throws PareError `unsupported` for strings, complex, float8 and packed types. */
export function toNumbers(tensor: HostTensor): Numbers {
  const data = tensor.data as TypedArray;
  switch (tensor.dtype) {
    case 'float16': {
      const table = float16Table();
      const bits = data as Uint16Array;
      const out = new Float32Array(bits.length);
      for (let i = 0; i < bits.length; i++) out[i] = table[bits[i] as number] as number;
      return out;
    }
    case 'bfloat16': {
      const wide = Uint32Array.from(data as Uint16Array, (bits) => bits << 16);
      return new Float32Array(wide.buffer);
    }
    case 'int64':
    case 'uint64':
      return Float64Array.from(data as BigInt64Array, Number);
    case 'float32':
    case 'float64':
    case 'int8':
    case 'uint8':
    case 'int16':
    case 'uint16':
    case 'int32':
    case 'uint32':
    case 'bool':
      return data as Numbers;
    default:
      throw new PareError('unsupported', `Pare does not compare ${tensor.dtype} tensors as numbers.`);
  }
}

/** Whether `toNumbers` takes this type. */
export function isNumeric(dtype: DType): boolean {
  return /^(float(16|32|64)|bfloat16|u?int(8|16|32|64)|bool)$/.test(dtype);
}

/** Elements of `tensor` as `dtype`, rounded to nearest; the caller has made sure that the conversion makes sense. */
export function castTensor(tensor: HostTensor, dtype: DType): HostTensor {
  if (tensor.dtype === dtype) return tensor;
  const dims = tensor.dims;
  if (isIntegral(tensor.dtype) && (dtype === 'int64' || dtype === 'uint64')) {
    const values = tensor.data as ArrayLike<number | bigint>;
    const data = dtype === 'int64' ? new BigInt64Array(values.length) : new BigUint64Array(values.length);
    for (let i = 0; i < data.length; i++) data[i] = BigInt(values[i] as number | bigint);
    return { dtype, dims, data };
  }
  const values = toNumbers(tensor);
  if (dtype === 'float16') return { dtype, dims, data: Uint16Array.from(values, numberToFloat16) };
  if (dtype === 'bfloat16') return { dtype, dims, data: Uint16Array.from(values, numberToBfloat16) };
  const data = new (arrayType(dtype))(values.length) as Numbers;
  data.set(values);
  return { dtype, dims, data };
}

const isIntegral = (dtype: DType): boolean => dtype === 'bool' || /^u?int(8|16|32|64)$/.test(dtype);

function numberToBfloat16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** `tensors` of equal type and dims along a new first axis. */
export function stackTensors(tensors: readonly HostTensor[]): HostTensor {
  const first = tensors[0] as HostTensor;
  const size = elementCount(first.dims);
  const dims = [tensors.length, ...first.dims];
  if (first.dtype === 'string') {
    return { dtype: 'string', dims, data: tensors.flatMap((t) => t.data as readonly string[]) };
  }
  if (tensors.length === 1) return { ...first, dims };
  const data = new (arrayType(first.dtype))(size * tensors.length);
  for (const [i, t] of tensors.entries()) data.set(t.data as never, i * size);
  return { dtype: first.dtype, dims, data };
}

/** Slice `index` along the first axis, without it; shares memory. */
export function sliceTensor(tensor: HostTensor, index: number): HostTensor {
  const dims = tensor.dims.slice(1);
  const size = elementCount(dims);
  const data = tensor.data;
  const part = ArrayBuffer.isView(data)
    ? (data as Uint8Array).subarray(index * size, (index + 1) * size)
    : data.slice(index * size, (index + 1) * size);
  return { dtype: tensor.dtype, dims, data: part };
}

/** `float32[1, 3, 224, 224]`, for messages. */
export function tensorText(tensor: {
  readonly dtype: string;
  readonly dims: readonly (number | string | null)[];
}): string {
  return `${tensor.dtype}[${tensor.dims.map((d) => d ?? '?').join(', ')}]`;
}

/** How many elements are NaN, and infinite; zero for types that have neither. */
export function countNonFinite(tensor: HostTensor): { readonly nan: number; readonly infinite: number } {
  let nan = 0;
  let infinite = 0;
  if (tensor.dtype === 'float16' || tensor.dtype === 'bfloat16') {
    const [exponent, fraction] = tensor.dtype === 'float16' ? [0x7c00, 0x3ff] : [0x7f80, 0x7f];
    for (const bits of tensor.data as Uint16Array) {
      if ((bits & exponent) === exponent) bits & fraction ? nan++ : infinite++;
    }
  } else if (tensor.dtype === 'float32' || tensor.dtype === 'float64') {
    for (const v of tensor.data as Float32Array) {
      // v - v is 0 for finite numbers and NaN otherwise: one test in the common case.
      if (v - v !== 0) Number.isNaN(v) ? nan++ : infinite++;
    }
  }
  return { nan, infinite };
}

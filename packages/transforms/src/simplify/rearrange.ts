import { byteLength, type DType, dtypeInfo, elementCount, type Node, Tensor, type Value } from '@pare/core';
import type { Scope } from './scope.js';

/** Results up to this many bytes of tensors in memory are computed at once, so that others can look at them. */
const EAGER_BYTES = 1 << 16;

/**
 * The outputs of `node` when it only moves the elements of constants: `tensorOf` gives its inputs. Large results are computed
 * when they are read or written, so that memory stays bounded. Undefined for other operators.
 */
export function rearrange(
  node: Node,
  tensorOf: (value: Value) => Tensor | undefined,
  scope: Scope,
): (Tensor | undefined)[] | undefined {
  if (node.domain !== '' || !Object.hasOwn(MOVES, node.opType)) return undefined;
  const inputs = node.inputs.map((value) => value && tensorOf(value));
  if (inputs[0] && !isWhole(inputs[0].dtype)) return undefined;
  return MOVES[node.opType]?.(node, inputs as Tensor[], scope);
}

/** Whether elements take whole bytes. */
function isWhole(dtype: DType): boolean {
  const { bits } = dtypeInfo(dtype);
  return bits > 0 && bits % 8 === 0;
}

type Move = (node: Node, inputs: readonly Tensor[], scope: Scope) => (Tensor | undefined)[] | undefined;

const relabel: Move = (node, [x], scope) => {
  const dims = scope.dims(node.output);
  return x && dims && elementCount(dims) === x.size ? [new Tensor(x.dtype, dims, x.data)] : undefined;
};

const MOVES: Readonly<Record<string, Move>> = {
  Flatten: relabel,
  Identity: relabel,
  Reshape: relabel,
  Squeeze: relabel,
  Unsqueeze: relabel,

  Transpose: (node, [x]) => x && [transposed(x, node.ints('perm') ?? x.dims.map((_, i) => i).reverse())],

  Slice(node, [x], scope) {
    const starts = node.ints('starts') ?? scope.places(node.inputs[1]);
    const ends = node.ints('ends') ?? scope.places(node.inputs[2]);
    const axes = node.ints('axes') ?? (node.inputs[3] ? scope.integers(node.inputs[3]) : starts?.map((_, i) => i));
    const steps = node.inputs[4] ? scope.integers(node.inputs[4]) : starts?.map(() => 1);
    if (!x || !starts || !ends || !axes || !steps) return undefined;
    const places = new Map<number, Places>();
    for (const [i, axis] of axes.entries()) {
      const at = axis < 0 ? axis + x.dims.length : axis;
      places.set(at, slicePlaces(x.dims[at] as number, starts[i] as number, ends[i] as number, steps[i] as number));
    }
    return [select(x, places)];
  },

  Gather(node, [x], scope) {
    const indices = scope.integers(node.inputs[1]);
    const shape = scope.dims(node.inputs[1]);
    if (!x || !indices || !shape) return undefined;
    const axis = (node.int('axis', 0) + x.dims.length) % x.dims.length;
    const length = x.dims[axis] as number;
    const list = indices.map((i) => (i < 0 ? i + length : i));
    if (list.some((i) => i < 0 || i >= length)) return undefined;
    const places = { count: list.length, at: (i: number) => list[i] as number, isRun: false };
    const { dtype, data } = select(x, new Map([[axis, places]]));
    return [new Tensor(dtype, [...x.dims.slice(0, axis), ...shape, ...x.dims.slice(axis + 1)], data)];
  },

  Split(node, [x], scope) {
    if (!x) return undefined;
    const axis = (node.int('axis', 0) + x.dims.length) % x.dims.length;
    let start = 0;
    return node.outputs.map((output) => {
      const length = scope.dims(output)?.[axis];
      // Without a length the places of those that follow are not known either.
      if (length === undefined) start = Number.NaN;
      if (length === undefined || Number.isNaN(start)) return undefined;
      const places = run(start, length);
      start += length;
      return select(x, new Map([[axis, places]]));
    });
  },

  Concat(node, inputs) {
    const [first] = inputs;
    if (!first || inputs.some((x) => !x)) return undefined;
    return [concatenated(inputs, (node.int('axis', 0) + first.dims.length) % first.dims.length)];
  },
};

/** Which places along an axis are taken, in order. */
interface Places {
  readonly count: number;
  at(index: number): number;
  /** They follow each other, upwards. */
  readonly isRun: boolean;
}

const run = (start: number, count: number): Places => ({ count, at: (i) => start + i, isRun: true });

/** The places that a Slice takes of an axis (ONNX Slice-13: starts and ends beyond the axis are clamped to it). */
function slicePlaces(length: number, start: number, end: number, step: number): Places {
  const clamp = (place: number, low: number, high: number): number =>
    Math.min(Math.max(place < 0 ? place + length : place, low), high);
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const from = clamp(start, Math.max(low, 0), high);
  const count = Math.max(0, Math.ceil((clamp(end, low, high) - from) / step));
  return { count, at: (i) => from + i * step, isRun: step === 1 };
}

/** A tensor made of the bytes of `sources`, now when they are in memory and the result is small, else when it is read. */
function lazily(
  dtype: DType,
  dims: readonly number[],
  sources: readonly Tensor[],
  run: (...bytes: Uint8Array[]) => Uint8Array,
): Tensor {
  const length = byteLength(dtype, elementCount(dims));
  const present = sources.map((source) => source.bytes);
  if (length <= EAGER_BYTES && present.every((bytes) => bytes !== undefined)) {
    return new Tensor(dtype, dims, { kind: 'bytes', bytes: run(...present) });
  }
  const produce = async (): Promise<Uint8Array> => run(...(await Promise.all(sources.map((source) => source.load()))));
  return new Tensor(dtype, dims, { kind: 'producer', byteLength: length, produce });
}

/** The elements of `x` at `places` of some axes, and all places of the others. */
function select(x: Tensor, places: ReadonlyMap<number, Places>): Tensor {
  const taken = x.dims.map((length, axis) => places.get(axis) ?? run(0, length));
  const dims = taken.map(({ count }) => count);
  // Trailing axes that are taken whole lie together, and so do places that follow each other before them.
  let depth = dims.length;
  while (depth > 0 && !places.has(depth - 1)) depth--;
  const inner = elementCount(dims.slice(depth)) * (dtypeInfo(x.dtype).bits / 8);
  return lazily(x.dtype, dims, [x], (bytes) => {
    const out = new Uint8Array(elementCount(dims) * (dtypeInfo(x.dtype).bits / 8));
    let to = 0;
    const copy = (axis: number, from: number): void => {
      const { count, at, isRun } = taken[axis] ?? run(0, 1);
      const row = from * (x.dims[axis] ?? 1);
      if (axis < depth - 1) for (let i = 0; i < count; i++) copy(axis + 1, row + at(i));
      else {
        const length = isRun ? count * inner : inner;
        for (let i = 0; i < (isRun ? 1 : count); i++, to += length) {
          const start = (row + at(i)) * inner;
          out.set(bytes.subarray(start, start + length), to);
        }
      }
    };
    if (out.length > 0) copy(0, 0);
    return out;
  });
}

function concatenated(parts: readonly Tensor[], axis: number): Tensor {
  const [first] = parts as [Tensor];
  const dims = first.dims.map((d, i) =>
    i === axis ? parts.reduce((sum, part) => sum + (part.dims[i] as number), 0) : d,
  );
  const outer = elementCount(first.dims.slice(0, axis));
  return lazily(first.dtype, dims, parts, (...bytes) => {
    const out = new Uint8Array(bytes.reduce((sum, b) => sum + b.length, 0));
    let to = 0;
    for (let row = 0; row < outer; row++) {
      for (const b of bytes) {
        const length = b.length / outer;
        out.set(b.subarray(row * length, (row + 1) * length), to);
        to += length;
      }
    }
    return out;
  });
}

/** `tensor` with axis `perm[i]` in the place of axis i. */
export function transposed(tensor: Tensor, perm: readonly number[]): Tensor {
  const dims = perm.map((axis) => tensor.dims[axis] as number);
  const size = dtypeInfo(tensor.dtype).bits / 8;
  return lazily(tensor.dtype, dims, [tensor], (bytes) => permute(bytes, size, tensor.dims, perm));
}

/** Elements of `size` bytes, moved along: the innermost output axis is walked with its stride in the input. */
function permute(bytes: Uint8Array, size: number, dims: readonly number[], perm: readonly number[]): Uint8Array {
  const out = new Uint8Array(bytes.byteLength);
  if (out.byteLength === 0) return out;
  const strides = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] as number) * (dims[i + 1] as number);
  const shape = perm.map((axis) => dims[axis] as number);
  const steps = perm.map((axis) => strides[axis] as number);
  const rank = shape.length;
  const length = shape[rank - 1] ?? 1;
  const step = steps[rank - 1] ?? 1;
  const index = new Array<number>(rank).fill(0);
  const move = mover(bytes, out, size);
  for (let to = 0, from = 0; to < out.byteLength / size; ) {
    for (let i = 0, at = from; i < length; i++, at += step) move(to++, at);
    let axis = rank - 2;
    for (; axis >= 0; axis--) {
      from += steps[axis] as number;
      if (++(index[axis] as number) < (shape[axis] as number)) break;
      from -= (steps[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
    if (axis < 0) break;
  }
  return out;
}

/** Copies one element; through wider views where the alignment allows it. */
function mover(from: Uint8Array, to: Uint8Array, size: number): (to: number, from: number) => void {
  const View = ({ 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const)[size];
  if (View) {
    const aligned = from.byteOffset % size === 0 ? from : from.slice();
    const source = new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
    const target = new View(to.buffer as ArrayBuffer, to.byteOffset, to.byteLength / size);
    return (i, j) => {
      target[i] = source[j] as never;
    };
  }
  return (i, j) => to.set(from.subarray(j * size, (j + 1) * size), i * size);
}

import { type Tensor, throwIfAborted, type Value } from '@pare/core';
import { canReplace, removeUnusedInitializer, replaceValue } from './edit.js';
import { type Pass, wholePass } from './rewrite.js';

/** Tensors beyond this are told apart by a sample first, and compared in pieces of this size. */
const PIECE = 1 << 16;

/**
 * Initializers with the same type, shape and bytes become one: weights that an exporter wrote twice are shared again, and
 * common subexpressions are found through them. Contents are compared byte by byte, large ones in pieces, so that memory
 * stays bounded; computed tensors are the same only when they are the same object.
 */
export function shareInitializers(): Pass {
  return wholePass('share-initializers', async ({ model }, report, { signal }) => {
    const groups = new Map<string, Value[]>();
    // Outer graphs first: an inner initializer gives way to an outer one.
    for (const graph of model.graph.graphs()) {
      for (const value of graph.initializers) {
        const tensor = value.constant;
        if (!tensor || tensor.dtype === 'string') continue;
        const key = `${tensor.dtype}[${tensor.dims}]`;
        const group = groups.get(key);
        if (group) group.push(value);
        else groups.set(key, [value]);
      }
    }
    for (const group of groups.values()) {
      if (group.length < 2) continue;
      throwIfAborted(signal);
      const buckets = new Map<string, Value[]>();
      for (const value of group) {
        const key = await sample(value.initializer as Tensor);
        const bucket = buckets.get(key) ?? [];
        buckets.set(key, bucket);
        const twin = await findTwin(bucket, value);
        if (!twin) bucket.push(value);
        else if (canReplace(value, twin) && replaceValue(value, twin)) {
          report.did(`Initializer "${value.name}" holds the same as "${twin.name}" and is shared with it.`);
          removeUnusedInitializer(value);
        }
      }
    }
  });
}

async function findTwin(bucket: readonly Value[], value: Value): Promise<Value | undefined> {
  for (const other of bucket) {
    if (!isVisible(other, value)) continue;
    if (await sameContent(other.initializer as Tensor, value.initializer as Tensor)) return other;
  }
  return undefined;
}

/** Whether the graph of `value` is that of `other` or inside it. */
function isVisible(other: Value, value: Value): boolean {
  for (let graph: Value['graph'] | undefined = value.graph; graph; graph = graph.parent?.graph) {
    if (graph === other.graph) return true;
  }
  return false;
}

/** A key that is equal for equal contents and mostly differs for others: bytes spread over the tensor. */
async function sample(tensor: Tensor): Promise<string> {
  const { byteLength } = tensor;
  if (tensor.data.kind === 'producer') return 'computed';
  if (byteLength <= 64) return `${await read(tensor, 0, byteLength)}`;
  const key: Uint8Array[] = [];
  for (let i = 0; i < 4; i++) key.push(await read(tensor, Math.floor(((byteLength - 16) * i) / 3), 16));
  return key.join();
}

async function sameContent(a: Tensor, b: Tensor): Promise<boolean> {
  if (a.data === b.data) return true;
  if (a.data.kind === 'producer' || b.data.kind === 'producer') return false;
  if (a.data.kind === 'reference' && b.data.kind === 'reference') {
    if (a.data.source === b.data.source && a.data.offset === b.data.offset) return true;
  }
  for (let offset = 0; offset < a.byteLength; offset += PIECE) {
    const length = Math.min(PIECE, a.byteLength - offset);
    if (!sameBytes(await read(a, offset, length), await read(b, offset, length))) return false;
  }
  return true;
}

function read({ data }: Tensor, offset: number, length: number): Uint8Array | Promise<Uint8Array> {
  if (data.kind === 'bytes') return data.bytes.subarray(offset, offset + length);
  if (data.kind === 'reference') return data.source.read(data.offset + offset, length);
  throw new Error('computed tensors are not read in pieces');
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

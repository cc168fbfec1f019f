import { elementCount, type Node, Tensor, type Value } from '@pare/core';
import { Emitter } from '../emit.js';
import { floatWeight, replaceInputs, type Scope } from './scope.js';

/** Smaller tables than this are not worth their extra nodes. */
const MIN_ELEMENTS = 1024;

/**
 * Gather from a constant table (an embedding): from 8-bit rows, made real after the lookup. Per channel means a scale for
 * each entry of the table, which is looked up beside it; a tied output projection has the same scales.
 */
export async function gather(node: Node, scope: Scope): Promise<string | undefined> {
  const [data, indices] = node.inputs;
  const table = floatWeight(data);
  if (typeof table === 'string') return table;
  if (table.transposed) return 'its table is transposed';
  const { dims, size } = table.tensor;
  if (size < MIN_ELEMENTS) return `its table has ${size} elements only`;
  const axis = (node.int('axis', 0) + dims.length) % dims.length;
  const channels = dims[axis] as number;
  const inner = elementCount(dims.slice(axis + 1));
  // A vector would get as many scales as it has elements.
  const perEntry = scope.perChannel && inner >= 8;
  const stored = await scope.weights.get(
    table,
    perEntry ? { channels, inner, symmetric: true } : { channels: 1, inner: size, symmetric: false },
  );
  const emit = new Emitter(node);
  const take = (from: Value): Value => emit.op('Gather', [from, indices as Value], { attributes: { axis } });
  const codes = take(stored.values);
  const zero = stored.isSymmetric ? null : stored.zeroPoint([]);
  const output = emit.releaseOutput();
  if (perEntry) {
    const scales = take(stored.scale(dims.map((d, i) => (i === axis ? d : 1))));
    const one = emit.constant('one', Tensor.of('float32', [], [1]));
    emit.op('Mul', [emit.op('DequantizeLinear', [codes, one, zero]), scales], { into: output });
  } else emit.op('DequantizeLinear', [codes, stored.scale([]), zero], { into: output });
  replaceInputs(node, []);
  emit.finish();
  return undefined;
}

import type { Node, Value } from '@pare/core';
import { Emitter } from '../emit.js';
import type { StoredWeight } from '../weight-store.js';
import { floatWeight, replaceInputs, type Scope } from './scope.js';

/*
 * Operators that ONNX Runtime quantizes whole, as operators of its own domain (com.microsoft, version 1; its operator
 * documentation gives the layouts).
 */

/** LSTM: DynamicQuantizeLSTM, which wants its weights as [directions, input, 4 * hidden]. */
export async function lstm(node: Node, scope: Scope): Promise<string | undefined> {
  const [x, w, r] = node.inputs;
  if (node.int('layout', 0) !== 0) return 'its layout is batch first, which the quantized LSTM does not know';
  const input = floatWeight(w);
  if (typeof input === 'string') return input;
  const recurrence = floatWeight(r);
  if (typeof recurrence === 'string') return recurrence;
  if (input.transposed || recurrence.transposed) return 'its weight is transposed';
  const store = (source: typeof input): Promise<StoredWeight> => {
    const [directions = 1, gates = 1, width = 1] = source.tensor.dims;
    const shape = scope.perChannel
      ? { channels: directions * gates, inner: width }
      : { channels: directions, inner: gates * width };
    return scope.weights.get(source, { ...shape, symmetric: true });
  };
  const [storedW, storedR] = [await store(input), await store(recurrence)];
  const dims = input.tensor.dims.slice(0, scope.perChannel ? 2 : 1);
  const emit = new Emitter(node);
  const others = [3, 4, 5, 6, 7].map((i) => node.inputs[i] ?? null);
  const params = [storedW, storedR].flatMap((stored) => [stored.scale(dims), stored.zeroPoint(dims)]);
  replaceInputs(node, [x as Value, storedW.transposed(emit), storedR.transposed(emit), ...others, ...params]);
  node.opType = 'DynamicQuantizeLSTM';
  node.domain = 'com.microsoft';
  node.deleteAttribute('layout');
  scope.model.ensureOpset('com.microsoft', 1);
  return undefined;
}

/** com.microsoft.Attention: QAttention. */
export async function attention(node: Node, scope: Scope): Promise<string | undefined> {
  const [x, w, bias, mask, past, attentionBias, pastLength] = node.inputs;
  const weight = floatWeight(w);
  if (typeof weight === 'string') return weight;
  if (weight.transposed) return 'its weight is transposed';
  const unknown = ['qkv_hidden_sizes', 'rotary_embedding_dim'].find((name) => node.attributes.has(name));
  if (unknown) return `QAttention has no attribute ${unknown}`;
  if (!bias) return 'it has no bias, which QAttention needs';
  if (attentionBias || pastLength) return 'QAttention takes neither an attention bias nor a past length';
  const [rows = 1, columns = 1] = weight.tensor.dims;
  const stored = await scope.weights.get(
    weight,
    scope.perChannel
      ? { channels: columns, inner: 1, symmetric: true }
      : { channels: 1, inner: rows * columns, symmetric: true },
  );
  const emit = new Emitter(node);
  const input = scope.activation(x as Value, emit);
  const dims = scope.perChannel ? [columns] : [];
  replaceInputs(node, [
    input.values,
    stored.values,
    bias,
    input.scale,
    stored.scale(dims),
    mask ?? null,
    input.zeroPoint,
    stored.zeroPoint(dims),
    past ?? null,
  ]);
  node.opType = 'QAttention';
  return undefined;
}

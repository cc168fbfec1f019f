import { type Graph, type Node, Tensor, type Value } from '@pare/core';
import { Emitter } from '../quantize/emit.js';

/** The tensor is seen as [.., count, inner]: `count` output channels, `each` of which share a codebook. */
export interface Channels {
  readonly count: number;
  readonly inner: number;
  readonly each: number;
  readonly codebooks: number;
}

/** A weight as indices into its codebooks. */
export interface SharedWeight {
  readonly indices: Uint8Array;
  /** All codebooks in a row, each of 2^bits entries. */
  readonly codebook: Tensor;
  readonly channels: Channels;
}

/** How many indices share a word of 32 bits. */
export const perWord = (bits: number): number => Math.floor(32 / bits);

/** Index i of a word is in bits `bits * i` and up. */
function pack(indices: Uint8Array, bits: number): Uint32Array {
  const each = perWord(bits);
  const words = new Uint32Array(Math.ceil(indices.length / each));
  for (let i = 0; i < indices.length; i++) {
    const word = Math.floor(i / each);
    words[word] = (words[word] as number) | ((indices[i] as number) << (bits * (i % each)));
  }
  return words;
}

/**
 * Writes the nodes that make a shared weight real, at the start of the graph that holds it. Shifts are the
 * same for all.
 */
export function unpacker(bits: number): (root: Value, values: SharedWeight, dims: readonly number[]) => Value {
  const shifts = new Map<Graph, { readonly left: Value; readonly right: Value }>();
  const each = perWord(bits);
  const shiftsOf = (graph: Graph): { readonly left: Value; readonly right: Value } => {
    const known = shifts.get(graph);
    if (known) return known;
    const lefts = Array.from({ length: each }, (_, i) => 32 - bits * (i + 1));
    const made = {
      left: graph.addInitializer('index_shift_left', Tensor.of('uint32', [each], lefts)),
      right: graph.addInitializer('index_shift_right', Tensor.of('uint32', [], [32 - bits])),
    };
    shifts.set(graph, made);
    return made;
  };
  return (root, { indices, codebook, channels }, dims) => {
    const { graph, name } = root;
    // A reader of the weight is in this graph, or below one of its nodes.
    const emit = new Emitter(graph.first as Node, name);
    const { left, right } = shiftsOf(graph);
    const ints = (word: string, values: readonly number[]): Value =>
      emit.constant(word, Tensor.of('int64', [values.length], values));
    const words = pack(indices, bits);
    // To the left end, which drops the indices above, and down again, which drops those below.
    const packed = emit.constant('indices', Tensor.of('uint32', [words.length, 1], words));
    const high = emit.op('BitShift', [packed, left], { attributes: { direction: 'LEFT' } });
    const low = emit.op('BitShift', [high, right], { attributes: { direction: 'RIGHT' } });
    let index = emit.op('Cast', [low], { attributes: { to: 6 } });
    if (words.length * each !== indices.length) {
      const flat = emit.op('Reshape', [index, ints('flat', [-1])]);
      index = emit.op('Slice', [flat, ints('start', [0]), ints('end', [indices.length])]);
    }
    const { count, inner, each: sharing, codebooks } = channels;
    if (codebooks > 1) {
      const first = Int32Array.from({ length: count }, (_, c) => Math.floor(c / sharing) * 2 ** bits);
      const byChannel = emit.op('Reshape', [index, ints('channels', [-1, count, inner])]);
      index = emit.op('Add', [byChannel, emit.constant('first_entry', Tensor.of('int32', [count, 1], first))]);
    }
    const shaped = emit.op('Reshape', [index, ints('shape', dims)]);
    return emit.op('Gather', [emit.constant('codebook', codebook), shaped], { ...(root.type && { type: root.type }) });
  };
}

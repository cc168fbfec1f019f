import { elementCount, type Graph, type Node, Tensor, tensorType, type Value } from '@pare/core';

/**
 * How a file holds integers of few bits: as many as fit are the digits of one byte, and a table says what they stand for. Weights
 * of -7 to 7 (4 bits) take half a byte, ternary ones a fifth. A Gather makes int8 of them, which a runtime computes once, when it
 * loads the model: then its integer kernels, which know 8 bits only, run as they are. Any opset and runtime can do it, which
 * cannot be said of the types int4 and int2.
 */
export interface Packing {
  /** The integers are -limit to limit. */
  readonly limit: number;
  /**
   * What the table multiplies them with: the kernels then see steps that are finer by this factor, and so are the steps of the
   * int32 bias, which are too coarse when weights and activations have few bits.
   */
  readonly multiplier: number;
}

/** Weights of few bits, to be written. */
export interface PackedWeight extends Packing {
  readonly dims: readonly number[];
  /** The integers as int8, one a byte, row-major. */
  produce(): Promise<Uint8Array>;
}

const INT32 = 6;

/** Writes the packed integers, with the nodes before `anchor` that make int8 of them; returns those. */
export function writePacked(graph: Graph, name: string, weight: PackedWeight, anchor: Node): Value {
  const { dims, limit, multiplier, produce } = weight;
  const radix = 2 * limit + 1;
  const digits = Math.floor(Math.log(256) / Math.log(radix));
  const size = elementCount(dims);
  const length = Math.ceil(size / digits);
  const pack = async (): Promise<Uint8Array> => {
    const made = await produce();
    const integers = new Int8Array(made.buffer, made.byteOffset, size);
    const bytes = new Uint8Array(length);
    integers.forEach((q, i) => {
      bytes[Math.floor(i / digits)]! += (q + limit) * radix ** (i % digits);
    });
    return bytes;
  };
  const packed = graph.addInitializer(
    name,
    new Tensor('uint8', [length], { kind: 'producer', byteLength: length, produce: pack }),
  );
  const op = (type: string, inputs: readonly Value[], attributes = {}): Value =>
    graph.addNode(type, inputs, { attributes, before: anchor }).output;
  const ints = (values: readonly number[]): Value =>
    graph.addInitializer(`${name}_dims`, Tensor.of('int64', [values.length], values));
  const looked = op('Gather', [digitTable(graph, radix, digits, multiplier), op('Cast', [packed], { to: INT32 })]);
  const flat = op('Reshape', [looked, ints([-1])]);
  const exact = size === length * digits ? flat : op('Slice', [flat, ints([0]), ints([size])]);
  const integers = op('Reshape', [exact, ints(dims)]);
  integers.type = tensorType('int8', dims);
  return integers;
}

/** [radix^digits, digits]: what the digits of each byte stand for, the lowest first. One for all weights of a graph. */
function digitTable(graph: Graph, radix: number, digits: number, multiplier: number): Value {
  const name = `digits_base_${radix}_times_${multiplier}`;
  const present = graph.value(name);
  if (present?.initializer) return present;
  const rows = radix ** digits;
  const values = Array.from({ length: rows * digits }, (_, i) => {
    const digit = Math.floor(Math.floor(i / digits) / radix ** (i % digits)) % radix;
    return (digit - (radix - 1) / 2) * multiplier;
  });
  return graph.addInitializer(name, Tensor.of('int8', [rows, digits], values));
}

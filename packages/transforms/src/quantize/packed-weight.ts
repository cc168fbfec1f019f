import { elementCount, type Graph, type Node, Tensor, tensorType, type Value } from '@pare/core';

/**
 * How a file holds integers of fewer than 8 bits. Either way constant operators make int8 of them, which a runtime computes when
 * it loads the model: the integer kernels, which know int8 only, run as they are, and the file is small.
 *
 * - `int4`: [-8, 7], two a byte: the type int4 and a Cast (opset 21).
 * - `ternary`: -1, 0 and 1, five a byte (3^5 = 243): a byte is looked up in a table of what it stands for. 1.6 bits a weight.
 */
export type Packing = 'int4' | 'ternary';

/** Weights of few bits, to be written. */
export interface PackedWeight {
  readonly packing: Packing;
  readonly dims: readonly number[];
  /** The integers as int8, one a byte, row-major. */
  produce(): Promise<Uint8Array>;
}

/** Writes the packed integers, with the nodes before `anchor` that make them int8 again; returns those. */
export function writePacked(graph: Graph, name: string, weight: PackedWeight, anchor: Node): Value {
  return weight.packing === 'int4' ? int4(graph, name, weight, anchor) : ternary(graph, name, weight, anchor);
}

const INT8 = 3;
const INT32 = 6;

function int4(graph: Graph, name: string, { dims, produce }: PackedWeight, anchor: Node): Value {
  const size = elementCount(dims);
  const pack = async (): Promise<Uint8Array> => {
    const integers = await produce();
    const bytes = new Uint8Array(Math.ceil(size / 2));
    for (let i = 0; i < size; i++) bytes[i >> 1]! |= ((integers[i] as number) & 15) << (4 * (i & 1));
    return bytes;
  };
  const packed = new Tensor('int4', dims, { kind: 'producer', byteLength: Math.ceil(size / 2), produce: pack });
  const node = graph.addNode('Cast', [graph.addInitializer(name, packed)], {
    attributes: { to: INT8 },
    outputs: [graph.freshName(`${name}_int8`)],
    before: anchor,
  });
  node.output.type = tensorType('int8', dims);
  return node.output;
}

const TRITS = 5;
const TABLE = 'ternary_table';

function ternary(graph: Graph, name: string, { dims, produce }: PackedWeight, anchor: Node): Value {
  const size = elementCount(dims);
  const length = Math.ceil(size / TRITS);
  const pack = async (): Promise<Uint8Array> => {
    const bytesIn = await produce();
    const integers = new Int8Array(bytesIn.buffer, bytesIn.byteOffset, bytesIn.length);
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length * TRITS; i++)
      bytes[Math.floor(i / TRITS)]! += ((integers[i] ?? 0) + 1) * 3 ** (i % TRITS);
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
  const looked = op('Gather', [ternaryTable(graph), op('Cast', [packed], { to: INT32 })]);
  const flat = op('Reshape', [looked, ints([-1])]);
  const exact = size === length * TRITS ? flat : op('Slice', [flat, ints([0]), ints([size])]);
  const integers = op('Reshape', [exact, ints(dims)]);
  integers.type = tensorType('int8', dims);
  return integers;
}

/** [3^5, 5]: the five values that each byte stands for, the first in the lowest digit. One for all weights of a graph. */
function ternaryTable(graph: Graph): Value {
  const present = graph.value(TABLE);
  if (present?.initializer) return present;
  const digits = Array.from({ length: 3 ** TRITS * TRITS }, (_, i) => {
    return (Math.floor(Math.floor(i / TRITS) / 3 ** (i % TRITS)) % 3) - 1;
  });
  return graph.addInitializer(TABLE, Tensor.of('int8', [3 ** TRITS, TRITS], digits));
}

import { elementCount, type Graph, type Model, Node, Tensor, tensorType, type Use, type Value } from '@pare/core';
import { removeDeadConstant } from './constant-source.js';
import { writePacked } from './packed-weight.js';
import { type AffineParameters, coveredRange, type IntegerRange, integerRange } from './params.js';
import { clipBounds } from './placement.js';
import type { QuantizedWeight } from './static-weights.js';

/** Integer types of quantized activations. */
export type ActivationType = 'uint8' | 'int8' | 'uint16' | 'int16';

/** How one activation is quantized. */
export interface Affine extends AffineParameters {
  readonly dtype: ActivationType;
  /** The integers to use, when they are fewer than the type has (4 bits in a uint8): a Clip on the integers leaves out the others. */
  readonly levels?: IntegerRange | undefined;
}

/** Writes QuantizeLinear and DequantizeLinear into one graph. Parameters that are equal are one initializer. */
export class QdqWriter {
  readonly #graph: Graph;
  readonly #parameters = new Map<string, readonly [Value, Value]>();
  readonly #weights = new Map<QuantizedWeight, Value>();

  /** `domain` of the two operators: '' or `com.microsoft`, which has the axis and 16-bit types in every opset. */
  constructor(
    model: Model,
    private readonly domain: string,
  ) {
    this.#graph = model.graph;
    if (domain) model.ensureOpset(domain, 1);
  }

  /**
   * Puts the pair behind `value`, with a scale called after `name` (the same for those that share it). With `readers` 'all', everyone (graph outputs and
   * subgraphs too) reads the rounded value under the old name, and the producer's own result gets a new one; else only
   * those readers get the rounded value, under a new name.
   */
  quantizeActivation(value: Value, name: string, affine: Affine, readers: readonly Use[] | 'all'): void {
    const parameters = this.#affine(name, affine);
    const producer = value.producer;
    let source = value;
    let rounded: Value;
    if (readers === 'all' && producer) {
      source = this.#graph.addValue(this.#graph.freshName(`${value.name}_float`), value.type);
      const index = producer.outputs.indexOf(value);
      producer.setOutput(index, source);
      rounded = value;
    } else {
      rounded = this.#graph.addValue(this.#graph.freshName(`${value.name}_dequantized`), value.type);
      for (const { node, index } of readers === 'all' ? [...value.uses] : readers) node.setInput(index, rounded);
    }
    const quantize = this.#node('QuantizeLinear', [foldTail(source, affine), ...parameters]);
    const integers = this.#graph.addValue(
      this.#graph.freshName(`${value.name}_quantized`),
      tensorType(affine.dtype, value.shape),
    );
    quantize.setOutput(0, integers);
    const clip = this.#limit(integers, affine);
    const dequantize = this.#node('DequantizeLinear', [clip?.output ?? integers, ...parameters]);
    dequantize.setOutput(0, rounded);
    const anchor = quantize.inputs[0]?.producer;
    if (anchor) this.#graph.insertAfter(anchor, quantize);
    else if (this.#graph.first) this.#graph.insertBefore(this.#graph.first, quantize);
    if (clip) this.#graph.insertAfter(quantize, clip);
    this.#graph.insertAfter(clip ?? quantize, dequantize);
    if (source !== quantize.inputs[0]) dropDead(source);
  }

  /** The weight as float behind a DequantizeLinear, to be read from `before` on. */
  weight(weight: QuantizedWeight, before: Node): Value {
    const present = this.#weights.get(weight);
    if (present) return present;
    const { source, matrix, scheme, scales } = weight;
    const { name } = source.root;
    const dims = source.transposed && before.is('MatMul') ? [...source.tensor.dims].reverse() : source.tensor.dims;
    const isSwapped = dims !== source.tensor.dims;
    const [rows = 1, columns = 1] = source.tensor.dims;
    const produce = async (): Promise<Uint8Array> =>
      isSwapped ? swap(await weight.quantize(), rows, columns) : weight.quantize();
    const integers = weight.packing
      ? writePacked(this.#graph, `${name}_quantized`, { ...weight.packing, dims, produce }, before)
      : this.#graph.addInitializer(
          `${name}_quantized`,
          new Tensor(scheme.dtype, dims, { kind: 'producer', byteLength: elementCount(dims), produce }),
        );
    const shape = scheme.perChannel ? [scales.length] : [];
    const middle = new Uint8Array(scales.length).fill(scheme.dtype === 'uint8' ? 128 : 0);
    const output = this.#dequantize(
      name,
      integers,
      [
        this.#graph.addInitializer(`${name}_scale`, Tensor.of('float32', shape, scales)),
        this.#graph.addInitializer(
          `${name}_zero_point`,
          Tensor.of(scheme.dtype, shape, scheme.dtype === 'uint8' ? middle : new Int8Array(middle.buffer)),
        ),
      ],
      before,
      scheme.perChannel ? (isSwapped ? 1 - matrix.axis : matrix.axis) : undefined,
    );
    this.#weights.set(weight, output);
    return output;
  }

  /** An int32 bias as float behind a DequantizeLinear. */
  bias(
    name: string,
    { values, scales }: { readonly values: Int32Array; readonly scales: Float32Array },
    before: Node,
  ): Value {
    const perChannel = scales.length === values.length;
    const shape = perChannel ? [scales.length] : [];
    const integers = this.#graph.addInitializer(`${name}_quantized`, Tensor.of('int32', [values.length], values));
    return this.#dequantize(
      name,
      integers,
      [
        this.#graph.addInitializer(`${name}_scale`, Tensor.of('float32', shape, scales)),
        this.#graph.addInitializer(`${name}_zero_point`, Tensor.of('int32', shape, new Int32Array(scales.length))),
      ],
      before,
      perChannel ? 0 : undefined,
    );
  }

  #dequantize(name: string, integers: Value, parameters: readonly Value[], before: Node, axis?: number): Value {
    const node = this.#node('DequantizeLinear', [integers, ...parameters]);
    if (axis !== undefined) node.setAttribute('axis', axis);
    const type = tensorType('float32', integers.shape);
    node.setOutput(0, this.#graph.addValue(this.#graph.freshName(`${name}_dequantized`), type));
    this.#graph.insertBefore(before, node);
    return node.output;
  }

  /** The node that keeps integers within `levels`, where the type has more. */
  #limit(integers: Value, { dtype, levels }: Affine): Node | undefined {
    const all = integerRange(dtype, { symmetric: false });
    if (!levels || (levels.qmin <= all.qmin && levels.qmax >= all.qmax)) return undefined;
    const clip = new Node('Clip');
    const bounds = [levels.qmin, levels.qmax].map((bound) => {
      const name = `${dtype}_${bound}`.replace('-', 'minus_');
      return this.#graph.value(name) ?? this.#graph.addInitializer(name, Tensor.of(dtype, [], [bound]));
    });
    clip.setInputs([integers, ...bounds]);
    clip.setOutput(0, this.#graph.addValue(this.#graph.freshName(`${integers.name}_limited`), integers.type));
    return clip;
  }

  #node(opType: string, inputs: readonly Value[]): Node {
    const node = new Node(opType, this.domain);
    node.setInputs(inputs);
    return node;
  }

  #affine(name: string, { dtype, scale, zeroPoint }: Affine): readonly [Value, Value] {
    const key = `${name} ${dtype} ${scale} ${zeroPoint}`;
    const present = this.#parameters.get(key);
    if (present) return present;
    const parameters = [
      this.#graph.addInitializer(`${name}_scale`, Tensor.of('float32', [], [scale])),
      this.#graph.addInitializer(`${name}_zero_point`, Tensor.of(dtype, [], [zeroPoint])),
    ] as const;
    this.#parameters.set(key, parameters);
    return parameters;
  }
}

/** What to quantize instead of `value`: the input of its Relu or Clip, when saturating to the integer range does its work. */
function foldTail(value: Value, affine: Affine): Value {
  const { producer } = value;
  if (!producer?.inputs[0] || value.uses.size > 0 || value.isGraphOutput) return value;
  if (producer.domain !== '' || !(producer.is('Relu') || producer.is('Clip'))) return value;
  const bounds = clipBounds(producer);
  // QuantizeLinear saturates to all integers of the type, also when a symmetric scale leaves some out.
  const { lo, hi } = coveredRange(affine, affine.levels ?? integerRange(affine.dtype, { symmetric: false }));
  // Half a step inside the bound is as near as the integers come.
  const slack = affine.scale * 0.5;
  return bounds && lo >= bounds.low - slack && hi <= bounds.high + slack ? producer.inputs[0] : value;
}

function dropDead(value: Value): void {
  const { producer } = value;
  if (!producer || !value.isUnused) return;
  const inputs = [...producer.inputs];
  producer.graph?.remove(producer);
  for (const input of inputs) removeDeadConstant(input);
}

function swap(values: Uint8Array, rows: number, columns: number): Uint8Array {
  const out = new Uint8Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c] as number;
  }
  return out;
}

import { dtypeInfo, type Graph, type Node, Tensor, tensorType, type Use, type Value, type ValueType } from '@pare/core';
import { removeDeadConstant } from '../quantize/constant-source.js';
import { type HalfType, halfTensor } from './constants.js';
import type { OperatorRow } from './operators.js';
import { isFloat32, type Placement, type Precision } from './placement.js';

export interface RewriteTask {
  readonly graph: Graph;
  readonly to: HalfType;
  readonly typeOf: (value: Value) => ValueType | undefined;
  readonly rowOf: (node: Node) => OperatorRow | undefined;
  readonly placement: Placement;
}

export interface Rewritten {
  /** Cast nodes that were added. */
  readonly casts: number;
  /** Constants that became 16-bit, as they were. */
  readonly constants: readonly { readonly name: string; readonly tensor: Tensor }[];
}

/** Larger constants than this are stored once, even when both precisions are read. */
const COPY_LIMIT = 4096;

/** Gives every value the precision that was chosen: at most one Cast a value. */
export function rewrite(task: RewriteTask): Rewritten {
  return new Rewriter(task).run();
}

class Rewriter {
  #casts = 0;
  readonly #constants: { name: string; tensor: Tensor }[] = [];
  readonly #dtype: HalfType;
  /** Outputs of all graphs by the value that fills them, as the model was. */
  readonly #outputs = new Map<Value, { graph: Graph; index: number }[]>();

  constructor(private readonly task: RewriteTask) {
    this.#dtype = task.to;
    for (const graph of task.graph.graphs()) {
      for (const [index, value] of graph.outputs.entries()) {
        this.#outputs.set(value, [...(this.#outputs.get(value) ?? []), { graph, index }]);
      }
    }
  }

  run(): Rewritten {
    // What the model was, before any edge moves.
    const graphs = [...this.task.graph.graphs()];
    const nodes = graphs.flatMap((graph) => [...graph.nodes()]);
    const values = graphs.flatMap((graph) => [...graph.values]).filter((v) => isFloat32(this.task.typeOf(v)));
    for (const node of nodes) if (this.task.placement.node(node) === 'low') this.#patch(node);
    for (const value of values) {
      if (value.constant) this.#constant(value);
      else this.#variable(value);
    }
    for (const node of nodes) dropNoopCast(node);
    return { casts: this.#casts, constants: this.#constants };
  }

  /** Attributes that say which type comes out. */
  #patch(node: Node): void {
    const row = this.task.rowOf(node);
    if (row?.dtype && node.outputs.some((v) => v && isFloat32(this.task.typeOf(v)))) {
      node.setAttribute(row.dtype, dtypeInfo(this.#dtype).code);
    }
    if (!row?.tensor) return;
    const tensor = node.tensor(row.tensor) ?? Tensor.of('float32', [1], [0]);
    if (tensor.dtype === 'float32') node.setAttribute(row.tensor, halfTensor(tensor, this.#dtype));
  }

  /** The places that read `value`, by precision. */
  #readers(value: Value): { uses: [Use, Precision][]; outputs: [{ graph: Graph; index: number }, Precision][] } {
    const { placement } = this.task;
    return {
      uses: [...value.uses].map((use) => [use, placement.input(use.node, use.index)]),
      outputs: (this.#outputs.get(value) ?? []).map((output) => [output, placement.output(output.graph, output.index)]),
    };
  }

  #variable(value: Value): void {
    const home = this.task.placement.home(value);
    const readers = this.#readers(value);
    const differs = [...readers.uses, ...readers.outputs].some(([, precision]) => precision !== home);
    if (home === 'low') {
      value.type = this.#lowType(value);
      // A default that the caller may override changes with its input.
      if (value.initializer) value.graph.setInitializer(value, halfTensor(value.initializer, this.#dtype));
    }
    if (!differs) return;
    // An output of the main graph keeps its name: then it is what is cast to, and its source gets a new name.
    const named = readers.outputs.some(([o, precision]) => o.graph === this.task.graph && precision !== home);
    const cast = named ? this.#castInto(value, home) : this.#castFrom(value, home);
    const source = named ? (cast.producer?.inputs[0] as Value) : value;
    for (const [use, precision] of readers.uses) use.node.setInput(use.index, precision === home ? source : cast);
    for (const [output, precision] of readers.outputs)
      output.graph.setOutput(output.index, precision === home ? source : cast);
  }

  /** A Cast right after the producer of `value`. */
  #castFrom(value: Value, home: Precision): Value {
    const name = value.graph.freshName(`${value.name}_${home === 'low' ? 'float32' : this.#dtype}`);
    const cast = value.graph.addValue(name, home === 'low' ? this.#highType(value) : this.#lowType(value));
    this.#place(value, cast, home);
    return cast;
  }

  /** Moves what computes `value` to a new value, which is then cast into `value`. */
  #castInto(value: Value, home: Precision): Value {
    const { graph, producer } = value;
    if (!producer) return this.#castFrom(value, home);
    const source = graph.addValue(
      graph.freshName(`${value.name}_${home === 'low' ? this.#dtype : 'float32'}`),
      value.type,
    );
    const index = producer.outputs.indexOf(value);
    producer.setOutput(index, null);
    producer.setOutput(index, source);
    value.type = home === 'low' ? this.#highType(value) : this.#lowType(value);
    this.#place(source, value, home);
    return value;
  }

  #place(from: Value, into: Value, home: Precision): void {
    const { graph } = from;
    const to = dtypeInfo(home === 'low' ? 'float32' : this.#dtype).code;
    const next = from.producer ? from.producer._next : graph.first;
    // Without a name: ONNX Runtime refuses two nodes of one name, and the model may have any.
    graph.addNode('Cast', [from], { attributes: { to }, outputs: [into], before: next });
    this.#casts++;
  }

  /** A constant has no home: it is written in the precision that is read. */
  #constant(value: Value): void {
    const tensor = value.constant as Tensor;
    const { uses, outputs } = this.#readers(value);
    const all = [...uses, ...outputs];
    const low = all.filter(([, precision]) => precision === 'low').length;
    if (low === 0) return;
    const half = halfTensor(tensor, this.#dtype);
    this.#constants.push({ name: value.name, tensor });
    if (low < all.length && tensor.size <= COPY_LIMIT) {
      const copy = value.graph.addInitializer(`${value.name}_${this.#dtype}`, half);
      for (const [use, precision] of uses) if (precision === 'low') use.node.setInput(use.index, copy);
      for (const [o, precision] of outputs) if (precision === 'low') o.graph.setOutput(o.index, copy);
      removeDeadConstant(value);
      return;
    }
    value.type = tensorType(this.#dtype, tensor.dims);
    if (value.initializer) value.graph.setInitializer(value, half);
    else value.producer?.setAttribute('value', half);
    if (low === all.length) return;
    const cast = this.#castFrom(value, 'low');
    for (const [use, precision] of uses) if (precision === 'high') use.node.setInput(use.index, cast);
    for (const [o, precision] of outputs) if (precision === 'high') o.graph.setOutput(o.index, cast);
  }

  #lowType(value: Value): ValueType {
    const type = this.task.typeOf(value);
    return tensorType(this.#dtype, type?.kind === 'tensor' ? type.shape : undefined);
  }

  #highType(value: Value): ValueType {
    const type = this.task.typeOf(value);
    return tensorType('float32', type?.kind === 'tensor' ? type.shape : undefined);
  }
}

/** Removes a Cast of the model whose input now is of the type that it casts to. */
function dropNoopCast(node: Node): void {
  const [input] = node.inputs;
  const output = node.outputs[0];
  if (!node.is('Cast') || !node.graph || !input || !output || output.isGraphOutput) return;
  if (!input.dtype || dtypeInfo(input.dtype).code !== node.int('to')) return;
  node.graph.replaceAllUses(output, input);
  // Outputs of subgraphs are not uses.
  if (output.isUnused) node.graph.remove(node);
}

import { type Graph, Node, PareError, Tensor, type Use, type Value } from '@pare/core';

/** The integers that a value is rounded to, counted from its zero point. */
export interface Levels {
  /** Undefined where nothing is below: the value is known not to be negative. */
  readonly lo: number | undefined;
  readonly hi: number;
  /** Moves both, where the zero point is learned: a float scalar. */
  readonly zeroPoint?: Value | undefined;
}

/**
 * Writes fake quantization into a graph: Round(Clip(x / s, lo, hi)) * s in plain arithmetic, which works for any number of bits
 * and is differentiated like everything else. Round passes the gradient on (straight-through estimator), and the gradient of the
 * step size s that then follows is that of LSQ: round(x/s) - x/s inside the range, lo or hi outside (Esser et al. 2020, "Learned
 * Step Size Quantization", equation 3). What is trained is ln s: the step stays positive, and a step of an optimizer changes it
 * by the same share whatever its size, also under Adam, whose steps do not shrink with the gradient (as in Jain et al. 2020,
 * "Trained Quantization Thresholds", which trains log2).
 */
export class FakeQuantizer {
  readonly #steps = new Map<Value, Value>();
  /** The last of the nodes at the start of the graph, which compute the step sizes. */
  #prelude: Node | undefined;

  constructor(private readonly graph: Graph) {}

  /** An initializer with the logarithms of `steps`, to be trained. */
  scale(name: string, dims: readonly number[], steps: ArrayLike<number>): Value {
    const logs = Float32Array.from(steps, Math.log);
    return this.graph.addInitializer(`${name}_log_scale`, Tensor.of('float32', dims, logs));
  }

  /**
   * A learned zero point among the integers 0 to `most`: the offset of LSQ+ (Bhalgat et al. 2020), kept on the grid so that zero
   * (padding) is exact. What is trained is its share of `most`.
   */
  zeroPoint(name: string, initial: number, most: number): { readonly parameter: Value; readonly rounded: Value } {
    const parameter = this.graph.addInitializer(`${name}_zero_point`, Tensor.of('float32', [], [initial / most]));
    const scaled = this.#start('Mul', [parameter, this.#number(most)]);
    const clipped = this.#start('Clip', [scaled, this.#number(0), this.#number(most)]);
    return { parameter, rounded: this.#start('Round', [clipped]) };
  }

  /**
   * Rounds an activation. With `readers` 'all', everyone (graph outputs too) reads the rounded value under the old name, and the
   * producer's own result gets a new one; else only those readers get it, under a new name. Returns the rounded value.
   */
  activation(value: Value, scale: Value, levels: Levels, readers: 'all' | readonly Use[]): Value {
    const { producer } = value;
    if (readers === 'all' && producer) {
      const source = this.graph.addValue(this.graph.freshName(`${value.name}_float`), value.type);
      producer.setOutput(producer.outputs.indexOf(value), source);
      this.#round(source, scale, levels, value);
      return value;
    }
    return this.#roundFor(value, scale, levels, readers === 'all' ? [...value.uses] : readers);
  }

  /** Rounds a weight that `readers` multiply with. Returns the rounded value. */
  weight(operand: Value, scale: Value, limit: number, readers: readonly Use[]): Value {
    return this.#roundFor(operand, scale, { lo: -limit, hi: limit }, readers);
  }

  /** Rounds a matrix that is cut into blocks: reshaped to `blocks` (which `scale` broadcasts to) and back to `whole`. */
  blocks(
    operand: Value,
    scale: Value,
    limit: number,
    readers: readonly Use[],
    dims: { readonly blocks: readonly number[]; readonly whole: readonly number[] },
  ): Value {
    const { graph } = this;
    const shape = (values: readonly number[]): Value =>
      graph.addInitializer(`${operand.name}_shape`, Tensor.of('int64', [values.length], values));
    const cut = this.#insert('Reshape', [operand, shape(dims.blocks)], operand.producer ?? this.#prelude).output;
    const rounded = graph.addValue(graph.freshName(`${operand.name}_blocks`));
    this.#round(cut, scale, { lo: -limit, hi: limit }, rounded);
    const whole = this.#insert('Reshape', [rounded, shape(dims.whole)], rounded.producer);
    for (const { node, index } of readers) node.setInput(index, whole.output);
    return whole.output;
  }

  #roundFor(value: Value, scale: Value, levels: Levels, readers: readonly Use[]): Value {
    const rounded = this.graph.addValue(this.graph.freshName(`${value.name}_rounded`), value.type);
    this.#round(value, scale, levels, rounded);
    for (const { node, index } of readers) node.setInput(index, rounded);
    return rounded;
  }

  #round(source: Value, scale: Value, levels: Levels, into: Value): void {
    const step = this.#step(scale);
    let last = source.producer ?? this.#prelude;
    const op = (type: string, inputs: readonly (Value | null)[], output?: Value): Value => {
      last = this.#insert(type, inputs, last, output);
      return last.output;
    };
    const limits = this.#bounds(levels, op);
    op('Mul', [op('Round', [op('Clip', [op('Div', [source, step]), ...limits])]), step], into);
  }

  #bounds({ lo, hi, zeroPoint }: Levels, op: (type: string, inputs: (Value | null)[]) => Value): (Value | null)[] {
    const bound = (n: number): Value => (zeroPoint ? op('Sub', [this.#number(n), zeroPoint]) : this.#number(n));
    return [lo === undefined ? null : bound(lo), bound(hi)];
  }

  /** exp(scale), computed once in a run. */
  #step(scale: Value): Value {
    const step = this.#steps.get(scale) ?? this.#start('Exp', [scale]);
    this.#steps.set(scale, step);
    return step;
  }

  #number(value: number): Value {
    const name = `float_${value}`.replace('-', 'minus_');
    return this.graph.value(name) ?? this.graph.addInitializer(name, Tensor.of('float32', [], [value]));
  }

  #start(type: string, inputs: readonly Value[]): Value {
    this.#prelude = this.#insert(type, inputs, this.#prelude);
    return this.#prelude.output;
  }

  /** A node behind `last`, or at the start. */
  #insert(type: string, inputs: readonly (Value | null)[], last: Node | undefined, output?: Value): Node {
    const { graph } = this;
    const node = new Node(type);
    node.setInputs(inputs);
    node.setOutput(0, output ?? graph.addValue(graph.freshName(`${type}_out`)));
    if (last) return graph.insertAfter(last, node);
    return graph.first ? graph.insertBefore(graph.first, node) : graph.append(node);
  }
}

/**
 * Takes the rounding whose result is called `rounded` out of the graph again: readers read what was rounded, which gets the name
 * `original` back. What computed the step stays.
 */
export function removeRounding(graph: Graph, rounded: string, original: string): void {
  const result = graph.value(rounded);
  const chain: Node[] = [];
  for (let at = result?.producer; at; at = at.is('Div') ? undefined : at.inputs[0]?.producer) chain.push(at);
  const cut = chain[0]?.is('Reshape') ? chain.at(-1)?.inputs[0]?.producer : undefined;
  if (cut) chain.push(cut);
  const source = chain.at(-1)?.inputs[0];
  if (!result || !source) {
    throw new PareError(
      'bad-model',
      `The model has no fake quantization "${rounded}": it is not the one of this plan.`,
    );
  }
  if (rounded === original) {
    const producer = source.producer ?? chain[0]?.fail('rounds nothing that a node computes');
    const slot = producer?.outputs.indexOf(source) ?? 0;
    chain[0]?.setOutput(0, null);
    chain.at(-1)?.setInputs([]);
    producer?.setOutput(slot, result);
    graph.removeValue(source);
  } else graph.replaceAllUses(result, source);
  for (const node of chain) graph.remove(node);
}

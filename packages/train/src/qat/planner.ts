import type { Model, Node, Use, Value } from '@pare/core';
import type { ParameterSpec } from '../parameters.js';
import type { Reader } from './plan.js';
import { FakeQuantizer } from './rounding.js';

/** What the parts of `fakeQuantize` share: the writer, the names of nodes before anything moves, what is to be trained. */
export class Planner {
  readonly writer: FakeQuantizer;
  readonly parameters: Record<string, Partial<ParameterSpec>> = {};
  readonly #names: ReadonlyMap<Node, string>;

  constructor(readonly model: Model) {
    this.writer = new FakeQuantizer(model.graph);
    this.#names = new Map([...model.graph.nodes()].map((node) => [node, node.outputs.find((v) => v)?.name ?? '']));
  }

  name(node: Node): string {
    return this.#names.get(node) ?? node.fail('is not of the model that is planned');
  }

  reader({ node, index }: Use): Reader {
    return { node: this.name(node), index };
  }

  /**
   * Trains the logarithms of `steps`, each of which scales `count` numbers with integers up to `most`. LSQ multiplies the gradient
   * of a step s by 1/sqrt(count * most), so that steps and weights change by like shares (section 2.2); a step of gradient descent on
   * ln s changes s by s^2 times as much as one on s, which is divided out.
   */
  trainScale(scale: Value, count: number, most: number, steps: ArrayLike<number>): void {
    let squares = 0;
    for (let i = 0; i < steps.length; i++) squares += (steps[i] as number) ** 2 / steps.length;
    const gradientScale = 1 / (Math.sqrt(count * most) * squares);
    // A logarithm: its steps are shares already. One batch that clips nearly everything must not multiply s by thousands.
    this.parameters[scale.name] = { decay: false, learningRate: 1, gradientScale, gradientLimit: 1 };
  }
}

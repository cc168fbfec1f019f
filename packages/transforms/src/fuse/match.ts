import type { Node, Value } from '@pare/core';
import { madeBy } from '../simplify/edit.js';
import type { Scope } from '../simplify/scope.js';

/** Steps of a product that are followed: no pattern has more. */
const MAX_FACTORS = 6;

/** The nodes of a pattern, gathered while it is matched from its last node upwards. */
export class Match {
  readonly nodes: Node[];

  constructor(
    readonly last: Node,
    readonly scope: Scope,
  ) {
    this.nodes = [last];
  }

  /** The producer of `value`, when it is an `opType` in the same graph; it becomes part of the pattern. */
  take(value: Value | null | undefined, opType: string): Node | undefined {
    const node = madeBy(value, opType, this.last);
    if (node && !this.nodes.includes(node)) this.nodes.push(node);
    return node;
  }

  /** Both orders of the two inputs of `node`. */
  orders(node: Node): [Value, Value][] {
    const [a, b] = node.inputs;
    return a && b
      ? [
          [a, b],
          [b, a],
        ]
      : [];
  }

  /** For `x + c` or `x * c` with the constant scalar c: its x. */
  withScalar(node: Node | undefined, scalar: number): Value | undefined {
    if (!node) return undefined;
    return this.orders(node).find(([, c]) => this.scope.isScalar(c, scalar))?.[0];
  }

  /**
   * The factors of the product that `value` is: values, and the product of its constant scalars. Follows Mul and Div by a
   * constant through nodes that nobody else reads.
   */
  factors(value: Value): Product {
    const product: Product = { values: [], scalar: 1, nodes: [] };
    this.#multiply(value, product, true);
    return product;
  }

  #multiply(value: Value, product: Product, isTop: boolean): void {
    const constant = this.scope.scalar(value);
    if (constant !== undefined) {
      product.scalar *= constant;
      return;
    }
    const isOwn = isTop || (value.uses.size === 1 && !value.isGraphOutput);
    const only = isOwn && product.nodes.length < MAX_FACTORS;
    const mul = only ? madeBy(value, 'Mul', this.last) : undefined;
    const div = only ? madeBy(value, 'Div', this.last) : undefined;
    const [a, b] = (mul ?? div)?.inputs ?? [];
    if (mul && a && b) {
      product.nodes.push(mul);
      this.#multiply(a, product, false);
      this.#multiply(b, product, false);
      return;
    }
    const divisor = div && this.scope.scalar(b);
    if (div && a && divisor !== undefined) {
      product.nodes.push(div);
      product.scalar /= divisor;
      this.#multiply(a, product, false);
      return;
    }
    product.values.push(value);
  }

  /** Whether nobody outside the pattern reads what is computed inside it, the result excepted. */
  isClosed(): boolean {
    const inside = new Set(this.nodes);
    return this.nodes.every((node) =>
      node.outputs.every((output) => {
        if (!output || (node === this.last && output === node.outputs[0])) return true;
        return !output.isGraphOutput && [...output.uses].every((use) => inside.has(use.node));
      }),
    );
  }
}

export interface Product {
  readonly values: Value[];
  scalar: number;
  readonly nodes: Node[];
}

/** Whether two constants are the same but for rounding to float32. */
export const isAbout = (a: number, b: number): boolean => Math.abs(a - b) <= Math.abs(b) * 2 ** -20;

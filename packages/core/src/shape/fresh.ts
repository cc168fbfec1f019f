import type { Model } from '../ir/model.js';
import type { Dim, ValueType } from '../ir/type.js';
import { dimNames } from './dim.js';

/**
 * Names for dimensions that nothing is known of (`_d0`, `_d1`, ...). Each is made once, so that equal names mean equal
 * lengths; they are numbered in the order of their making, so that those of an inner graph are those after a mark.
 */
export class FreshDims {
  readonly #first: number;
  #next: number;
  /** Those that depend on the data for certain: no declaration can fix them. */
  readonly #variable = new Set<string>();

  /** Starts behind the names that `model` uses already. */
  constructor(model: Model) {
    let last = -1;
    for (const graph of model.graph.graphs()) {
      for (const value of graph.values) last = Math.max(last, lastNumber(value.type));
    }
    this.#first = this.#next = last + 1;
  }

  /** The number that the next name gets. */
  get mark(): number {
    return this.#next;
  }

  make(variable = false): string {
    const name = `_d${this.#next++}`;
    if (variable) this.#variable.add(name);
    return name;
  }

  /** Whether `dim` uses a name made at or after `mark`. */
  since(dim: Dim, mark: number): boolean {
    return this.#names(dim).some((n) => n >= mark);
  }

  /** Whether nothing is known of `dim` but its name, so that a declaration may say more. */
  isUnknown(dim: Dim): boolean {
    return typeof dim === 'string' && this.#names(dim).length > 0 && PLAIN.test(dim) && !this.#variable.has(dim);
  }

  /** Numbers of the fresh names in `dim`. */
  #names(dim: Dim): number[] {
    if (typeof dim !== 'string' || !dim.includes('_d')) return [];
    const numbers = [...dimNames(dim)].map((name) => (PLAIN.test(name) ? Number(name.slice(2)) : -1));
    return numbers.filter((n) => n >= this.#first && n < this.#next);
  }
}

const PLAIN = /^_d\d+$/;

function lastNumber(type: ValueType | undefined): number {
  if (type?.kind !== 'tensor' || !type.shape) return -1;
  let last = -1;
  for (const dim of type.shape) {
    if (typeof dim !== 'string' || !dim.includes('_d')) continue;
    for (const match of dim.matchAll(/_d(\d{1,15})/g)) last = Math.max(last, Number(match[1]));
  }
  return last;
}

import type { Model } from '@pare/core';

/** Bytes that folding may add to the model, by default: masks and tables fit, weights do not. */
export const DEFAULT_MAX_FOLD_BYTES = 1 << 20;

/** All that folding adds to one model together: as much as one tensor may, or this part of its constants. */
const SHARE = 1 / 8;

/** Bytes that folding may still add to a model. */
export class Budget {
  constructor(private left: number) {}

  /** Whether the model may grow by `growth` more, at most by `limit` at once; counts it when it may. */
  take(growth: number, limit: number): boolean {
    if (growth > limit || growth > this.left) return false;
    this.left -= Math.max(0, growth);
    return true;
  }
}

const budgets = new WeakMap<Model, Budget>();

/** The budget of `model`, the same for all that fold in it. */
export function budgetOf(model: Model, limit: number): Budget {
  const known = budgets.get(model);
  if (known) return known;
  let total = 0;
  for (const graph of model.graph.graphs()) for (const v of graph.initializers) total += v.initializer?.byteLength ?? 0;
  const budget = new Budget(Math.max(limit, total * SHARE));
  budgets.set(model, budget);
  return budget;
}

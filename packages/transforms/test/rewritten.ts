import { check, type Engine, GraphBuilder, type Model, type Tensor, type Transform, type Value } from '@pare/core';
import { expect } from 'vitest';
import type { Equivalence, EquivalenceOptions } from '../src/equivalent/index.js';
import { equivalent } from '../src/equivalent/index.js';

/** A model after some transforms, checked against the model before. */
export interface Rewritten {
  readonly model: Model;
  /** Operators of the main graph in order. */
  readonly ops: string[];
  /** Everything that the transforms said, refusals included. */
  readonly notes: string[];
  readonly changed: number;
  readonly equivalence: Equivalence;
}

/**
 * Applies `transforms` to a copy of `model` and demands what every rewrite must keep: a valid graph, the inputs and outputs
 * with their names and order, and what ONNX Runtime computes (within 1e-5 of the largest output, or `tolerance`).
 */
export async function rewritten(
  engine: Engine,
  model: Model,
  transforms: readonly Transform[],
  options: EquivalenceOptions & { readonly fold?: boolean } = {},
): Promise<Rewritten> {
  expect(check(model)).toEqual([]);
  const copy = model.clone();
  const results = await copy.transform(...transforms, options.fold === false ? {} : { engine });
  expect(check(copy)).toEqual([]);
  expect(portsOf(copy)).toEqual(portsOf(model));
  const equivalence = await equivalent(engine, model, copy, { tolerance: 1e-5, runs: 2, ...options });
  expect(equivalence).toMatchObject({ isEqual: true });
  return {
    model: copy,
    ops: opsOf(copy),
    notes: results.flatMap((r) => [...r.notes, ...('refusals' in r ? (r.refusals as string[]) : [])]),
    changed: results.reduce((sum, r) => sum + r.changed, 0),
    equivalence,
  };
}

export const opsOf = (model: Model): string[] => [...model.graph.nodes()].map((n) => n.opType);

const portsOf = (model: Model): unknown => ({
  inputs: model.graph.inputs.filter((v) => !v.initializer).map((v) => v.name),
  outputs: model.graph.outputs.map((v) => v.name),
});

/** A model with one float32 input `x` of `shape`, whose output `y` is what `build` makes of it. */
export function modelOf(
  shape: readonly (number | string)[],
  build: (b: GraphBuilder, x: Value) => Value,
  options: { readonly opset?: number; readonly irVersion?: number } = {},
): Model {
  const b = new GraphBuilder();
  const y = build(b, b.input('x', 'float32', shape));
  const named = y.isGraphInput || y.initializer ? b.op('Identity', [y]) : y;
  return b.output('y', named, 'float32').model(options);
}

/** The constant that input `index` of the first `opType` reads. */
export function constantOf(model: Model, opType: string, index: number): Tensor | undefined {
  const node = [...model.allNodes()].find((n) => n.opType === opType);
  return node?.inputs[index]?.constant;
}

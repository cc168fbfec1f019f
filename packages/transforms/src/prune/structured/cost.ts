import { inferTypes, type Model, nodeMacs, nodeShapes, PareError, type Shape } from '@pare/core';

/** Lengths of what a model leaves open, for counting. */
export interface CountOptions {
  /** Numbers for named dimensions of the inputs. Default: 1 along the first axis, 64 along others. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Shapes of inputs, by name. Default: those of the first sample, or the declared ones. */
  readonly inputShapes?: Readonly<Record<string, Shape>> | undefined;
}

/** Elements of all constants, each once. */
export function countParameters(model: Model): number {
  let sum = 0;
  for (const { initializer } of model.graph.initializers) sum += initializer?.size ?? 0;
  for (const node of model.graph.nodes()) if (node.is('Constant')) sum += node.tensor('value')?.size ?? 0;
  return sum;
}

/**
 * Multiply-accumulates of one run.
 * @throws PareError `bad-option` when no shape is known where it matters.
 */
export function countMacs(model: Model, { dims = {}, inputShapes = {} }: CountOptions): number {
  const shapes: Record<string, Shape> = {};
  for (const input of model.graph.inputs) {
    const shape = inputShapes[input.name] ?? input.shape;
    if (input.constant || !shape) continue;
    shapes[input.name] = shape.map((dim, axis) => {
      if (typeof dim === 'number') return dim;
      return dims[dim ?? ''] ?? (axis === 0 ? 1 : ASSUMED);
    });
  }
  const types = inferTypes(model, { inputShapes: shapes });
  let sum = 0;
  for (const node of model.graph.nodes()) sum += nodeMacs(node, nodeShapes(node, types)) ?? 0;
  if (sum > 0) return sum;
  throw new PareError(
    'bad-option',
    'No multiply-accumulates can be counted: give the shapes of the inputs (inputShapes), or prune by parameters.',
  );
}

const ASSUMED = 64;

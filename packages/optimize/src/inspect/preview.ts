import type { Model, TransformContext } from '@pare/core';
import { simplify } from '@pare/transforms';

/** What simplify would do to a model. */
export interface SimplifyPreview {
  /** Nodes that would be left, subgraphs included. */
  readonly nodes: number;
  /** One sentence a change. */
  readonly notes: readonly string[];
}

/** Simplifies a copy of `model` and says what is left. */
export async function previewSimplify(model: Model, context: TransformContext): Promise<SimplifyPreview> {
  const copy = model.clone();
  const [result] = await copy.transform(simplify(), context);
  return { nodes: [...copy.allNodes()].length, notes: result?.notes ?? [] };
}

import { type DType, PareError, type Tensor, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';

/**
 * What training makes small. A loss appends standard ONNX nodes to the training graph and returns a float scalar (shape []);
 * its gradient is derived from them, so it may use every operator that has a gradient rule. It computes in the element type of
 * the model's output, float32 or float64.
 */
export interface Loss {
  /** For progress and reports: `cross-entropy`. */
  readonly name: string;
  build(scope: LossScope): Value;
}

/**
 * How the truth of a batch is laid out: `class`, class numbers (int64), one a sample or one a position; `tensor`, floats in the
 * type of the output; `sequence`, class numbers (int64) [N, L], filled up with -1 behind each sample's last.
 */
export type LabelKind = 'class' | 'tensor' | 'sequence';

/** Which class numbers a label may hold, so that bad ones are found before the first step. */
export interface ClassRange {
  /** Numbers run from 0 to `classes` - 1. */
  readonly classes: number;
  /** A number that is allowed as well: the position does not count. */
  readonly ignoreIndex?: number | undefined;
}

/**
 * What a loss sees of the training graph. Lengths are all known, that of the batch too. Its functions may be taken out of it
 * (`({ emit, output }) => ...`).
 */
export interface LossScope {
  /** Appends nodes. */
  readonly emit: Emitter;
  /** The model's output of that name; default the first one that holds floats. */
  output(name?: string): Value;
  /** Any value inside the model, by name: features, an attention map. */
  value(name: string): Value;
  /** The truth of the batch. Default dims: [N] for classes, those of the default output for a tensor. */
  label(kind: LabelKind, dims?: readonly number[], range?: ClassRange): Value;
  /** A further input of the training graph, fed with each batch: what a teacher answered. The same name is the same input. */
  target(name: string, dtype: DType, dims: readonly number[]): Value;
  /** A tensor that is trained with the model but is not part of it: an adapter between two widths. */
  parameter(name: string, initial: Tensor): Value;
}

/**
 * A loss of one's own:
 *
 * ```ts
 * const logCosh = defineLoss('log-cosh', ({ emit, output, label }) => {
 *   const difference = emit.sub(output(), label('tensor'));
 *   return emit.mean(emit.op('Log', [emit.op('Cosh', [difference])]), [0, 1], false);
 * });
 * ```
 * @throws PareError `bad-option` without a name; when built, `bad-option` if what `build` returns is no scalar.
 */
export function defineLoss(name: string, build: (scope: LossScope) => Value): Loss {
  if (!name) throw new PareError('bad-option', 'A loss needs a name.');
  return {
    name,
    build(scope) {
      const value = build(scope);
      const dims = scope.emit.shape(value);
      if (dims.length === 0) return value;
      throw new PareError(
        'bad-option',
        `Loss "${name}" is [${dims.join(', ')}] and must be one number (shape []): take the mean over all axes.`,
      );
    },
  };
}

/**
 * A weighted sum of losses: `combine([[1, crossEntropy()], [0.5, mse({ target: 'teacher' })]])`.
 * @throws PareError `bad-option` for no part, or a weight that is no number.
 */
export function combine(parts: readonly (readonly [weight: number, loss: Loss])[]): Loss {
  const bad = parts.find(([weight]) => !Number.isFinite(weight));
  if (bad) throw new PareError('bad-option', `The weight of loss "${bad[1].name}" is ${bad[0]}, and must be a number.`);
  if (parts.length === 0) throw new PareError('bad-option', 'A combination needs one loss at least.');
  const term = (weight: number, { name }: Loss): string => (weight === 1 ? name : `${weight} ${name}`);
  return {
    name: parts.map(([weight, loss]) => term(weight, loss)).join(' + '),
    build: (scope) =>
      parts
        .map(([weight, loss]) => (weight === 1 ? loss.build(scope) : scope.emit.mul(loss.build(scope), weight)))
        .reduce((sum, part) => scope.emit.add(sum, part)),
  };
}

import type { Value } from '@pare/core';
import { type Adjoint, once, type Rule } from '../rule.js';

/** Losses that ONNX has as operators: scores [N, C, ...], labels [N, ...]. */
export const LOSS: Readonly<Record<string, Rule>> = {
  // y = -sum over n of c_n x[n, label_n], with c of `weighed`: dx = -g c where the class is the label.
  NegativeLogLikelihoodLoss: (op) => [() => op.emit.neg(weighed(op, labelled(op))), null, null],

  // With p = softmax(x): dx = g c (p - 1 where the class is the label); of log p: dx = g - p sum(g).
  SoftmaxCrossEntropyLoss: (op) => {
    const { emit } = op;
    const p = once(() => emit.exp(op.extraOutput(1)));
    return [
      () => {
        const parts: Value[] = [];
        if (op.flows(0)) {
          const hot = labelled(op);
          const each = emit.sum(weighed(op, hot), [1]);
          parts.push(emit.mul(each, emit.sub(p(), hot)));
        }
        if (op.flows(1)) parts.push(emit.sub(op.g(1), emit.mul(p(), emit.sum(op.g(1), [1]))));
        return emit.op('Sum', parts);
      },
      null,
      null,
    ];
  },
};

/** 1 where the class is the label, else 0, in the shape of the scores; all 0 for a label to ignore. */
function labelled(op: Adjoint): Value {
  const { emit } = op;
  const [n, classes, ...rest] = op.shape() as [number, number, ...number[]];
  const type = emit.dtype(op.x(1));
  const every = emit.constant(type, [classes, ...rest.map(() => 1)], [...Array(classes).keys()]);
  const hot = emit.compare('Equal', every, emit.reshape(op.x(1), [n, 1, ...rest]));
  const ignored = op.node.int('ignore_index');
  const counts =
    ignored === undefined || ignored < 0 || ignored >= classes
      ? hot
      : emit.op('And', [hot, emit.op('Not', [emit.compare('Equal', every, ignored)])]);
  return emit.cast(counts, emit.dtype(op.x()) === 'float64' ? 'float64' : 'float32');
}

/** dL/dy times what each label counts in y: its weight, and in the mean of all by the sum of what all count. */
function weighed(op: Adjoint, hot: Value): Value {
  const { emit } = op;
  const [n, classes, ...rest] = op.shape() as [number, number, ...number[]];
  const counts = op.has(2) ? emit.mul(hot, emit.reshape(op.x(2), [classes, ...rest.map(() => 1)])) : hot;
  const reduction = op.node.string('reduction', 'mean');
  if (reduction === 'none') return emit.mul(counts, emit.reshape(op.g(), [n, 1, ...rest]));
  const total = (): Value => emit.op('ReduceSum', [counts], { keepdims: 0 });
  return emit.mul(counts, reduction === 'mean' ? emit.div(op.g(), total()) : op.g());
}

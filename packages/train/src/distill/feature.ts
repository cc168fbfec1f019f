import { PareError, seededRandom, Tensor, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';
import type { Loss, LossScope } from '../loss/loss.js';
import { meanAll } from '../loss/reduce.js';

/** A value of the student and one of the teacher that should say the same. */
export interface FeaturePair {
  /** Name of a value in the student: [N, C, ...] or [N, T, C]. */
  readonly student: string;
  /** Name of the input that is fed with the teacher's value. */
  readonly target: string;
  /** Shape of the teacher's value for one sample, without the batch axis. */
  readonly targetDims: readonly number[];
  /** Seed of the adapter's first values. Default 1. */
  readonly seed?: number | undefined;
}

/**
 * Hint training: mean squared distance between a feature of the teacher and the student's, brought to the teacher's width by an
 * adapter that is trained along (a 1x1 convolution for feature maps, a matrix otherwise) and is no part of the student.
 * Romero et al., FitNets: Hints for Thin Deep Nets, 2015, eq. 3.
 * @throws PareError `bad-option` when built, for features whose layouts cannot be compared.
 */
export function featureLoss(pair: FeaturePair): Loss {
  return {
    name: `feature ${pair.student}`,
    build(scope) {
      const { emit } = scope;
      const [student, teacher] = features(scope, pair);
      const difference = emit.sub(adapt(scope, student, teacher, pair), teacher);
      return meanAll(emit, emit.mul(difference, difference));
    },
  };
}

/**
 * Attention transfer: squared distance between the normalised attention maps A = sum over channels of F^2, mean over the batch;
 * feature maps [N, C, spatial...] of any width, without an adapter. Zagoruyko and Komodakis, Paying More Attention to
 * Attention, 2017, eq. 2.
 * @throws PareError `bad-option` when built, for values that are no feature maps of one size.
 */
export function attentionLoss(pair: FeaturePair): Loss {
  return {
    name: `attention ${pair.student}`,
    build(scope) {
      const { emit } = scope;
      const [student, teacher] = features(scope, pair);
      if (emit.rank(student) < 3) refuse(pair, emit, student, 'has no positions to attend to');
      const map = (f: Value): Value => {
        const a = emit.sum(emit.mul(f, f), [1], false);
        const axes = [...emit.shape(a).keys()].slice(1);
        return emit.div(a, emit.op('Sqrt', [emit.add(emit.sum(emit.mul(a, a), axes), 1e-12)]));
      };
      const difference = emit.sub(map(student), map(teacher));
      const [n = 1] = emit.shape(difference);
      const total = emit.sum(emit.mul(difference, difference), [...emit.shape(difference).keys()], false);
      return emit.div(total, n);
    },
  };
}

/** Both features, the larger feature map averaged down to the smaller one. */
function features(scope: LossScope, pair: FeaturePair): [Value, Value] {
  const { emit } = scope;
  const student = scope.value(pair.student);
  const [n = 1, ...own] = emit.shape(student);
  const teacher = scope.target(pair.target, emit.dtype(student), [n, ...pair.targetDims]);
  if (own.length !== pair.targetDims.length) refuse(pair, emit, student, 'has another number of axes');
  if (own.length < 3) return [student, teacher];
  const [ours, theirs] = [own.slice(1), pair.targetDims.slice(1)];
  const ratio = ours.map((d, i) => (theirs[i] as number) / d);
  if (ratio.every((r) => r === 1)) return [student, teacher];
  if (ratio.every((r) => Number.isInteger(r))) return [student, shrink(emit, teacher, ratio)];
  if (ratio.every((r) => Number.isInteger(1 / r)))
    return [
      shrink(
        emit,
        student,
        ratio.map((r) => 1 / r),
      ),
      teacher,
    ];
  return refuse(pair, emit, student, 'has a size that is no whole multiple or fraction');
}

function shrink(emit: Emitter, map: Value, kernel: readonly number[]): Value {
  return emit.op('AveragePool', [map], { kernel_shape: [...kernel], strides: [...kernel] });
}

/** `student` in the teacher's width, through a trained map; itself where the widths agree already. */
function adapt(scope: LossScope, student: Value, teacher: Value, pair: FeaturePair): Value {
  const { emit } = scope;
  const rank = emit.rank(student);
  // Feature maps have their channels on axis 1, token sequences and vectors on the last.
  const axis = rank > 3 ? 1 : rank - 1;
  const [from, to] = [emit.shape(student)[axis] as number, emit.shape(teacher)[axis] as number];
  const rest = emit.shape(student).every((d, i) => i === axis || d === emit.shape(teacher)[i]);
  if (!rest) refuse(pair, emit, student, 'has another length on an axis that is no channel axis');
  if (from === to) return student;
  const dims = rank > 3 ? [to, from, ...Array<number>(rank - 2).fill(1)] : [from, to];
  const random = seededRandom(pair.seed ?? 1);
  const values = Float32Array.from({ length: from * to }, () => random.normal() / Math.sqrt(from));
  const adapter = scope.parameter(`${pair.student}_adapter`, Tensor.of('float32', dims, values));
  return rank > 3 ? emit.op('Conv', [student, adapter]) : emit.op('MatMul', [student, adapter]);
}

function refuse(pair: FeaturePair, emit: Emitter, student: Value, why: string): never {
  throw new PareError(
    'bad-option',
    `The student's "${pair.student}" [${emit.shape(student).join(', ')}] cannot follow the teacher's value [N, ` +
      `${pair.targetDims.join(', ')}]: it ${why}.`,
  );
}

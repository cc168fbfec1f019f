import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';
import { logitsOf } from './logits.js';
import type { Loss } from './loss.js';
import { meanAll } from './reduce.js';

/** Options of `ctc`. */
export interface CtcOptions {
  /** Name of the output that holds the logits. Default the first float output. */
  readonly output?: string;
  /** Order of its axes: samples, time, classes or time, samples, classes. Default `NTC`. */
  readonly layout?: 'NTC' | 'TNC';
  /** Class number that stands for no symbol. Default 0. */
  readonly blank?: number;
  /** Most symbols of a label; longer ones are refused. Default: half the time steps. */
  readonly maxLength?: number;
}

/** Stands for log 0: far below any log-probability, and finite, so that no difference of two of them is NaN. */
const NEVER = -1e30;

/**
 * Connectionist temporal classification: the probability of a label of S symbols under all ways to spread it over T time steps,
 * by the forward recursion in logarithms (Graves et al., 2006, equations 6 to 8). Minus its logarithm over S, mean over the
 * samples. Labels that no path can spell (longer than the steps allow) count as 0.
 *
 * The recursion is unrolled: seven nodes a time step, and a few more for the gradient.
 * @throws PareError `bad-option` for outputs that do not have three axes, or a blank that is no class.
 */
export function ctc(options: CtcOptions = {}): Loss {
  const { layout = 'NTC', blank = 0 } = options;
  const name = 'ctc';
  return {
    name,
    build({ emit, output, label }) {
      const answer = output(options.output);
      if (emit.rank(answer) !== 3) {
        throw new PareError('bad-option', `Loss "ctc" needs an output of three axes; "${answer.name}" has not.`);
      }
      const logits = logitsOf(emit, answer, name, { kind: 'softmax', axis: 2 });
      // Time first, so that a step is a piece of memory.
      const ordered = layout === 'TNC' ? logits : emit.transpose(logits, [1, 0, 2]);
      const [steps, n, classes] = emit.shape(ordered) as [number, number, number];
      if (!(Number.isInteger(blank) && blank >= 0 && blank < classes)) {
        throw new PareError('bad-option', `The blank is class ${blank}, but "${answer.name}" has ${classes} classes.`);
      }
      const longest = options.maxLength ?? Math.max(1, Math.floor(steps / 2));
      const labels = label('sequence', [n, longest], { classes });
      const { symbols, isSkip, length } = paths(emit, labels, blank, logits);
      const width = 2 * longest + 1;
      const logP = emit.op('LogSoftmax', [ordered], { axis: 2 });
      // At each step the log-probability of each symbol of the path: T times [1, N, 2L + 1].
      const index = emit.expand(symbols, [steps, n, width]);
      const emission = emit.op('GatherElements', [logP, index], { axis: 2 });
      const at = emit.node('Split', [emission], { axis: 0, num_outputs: steps }, steps).outputs as Value[];

      // A path begins with the first blank or the first symbol.
      const begin = Array.from({ length: width }, (_, s) => (s < 2 ? 0 : NEVER));
      let alpha = emit.add(at[0] as Value, emit.constant(emit.dtype(logits), [1, 1, width], begin));
      const never = emit.fill([1, n, 2], NEVER, logits);
      for (const now of at.slice(1)) {
        const padded = emit.concat([never, alpha], 2);
        const one = emit.slice(padded, [2], [1], [width + 1]);
        const two = emit.add(emit.slice(padded, [2], [0], [width]), isSkip);
        alpha = emit.add(now, logSumExp(emit, [alpha, one, two]));
      }
      // It ends with the last symbol or the blank behind it: places 2S - 1 and 2S.
      const last = emit.mul(length, 2);
      const states = emit.reshape(alpha, [n, width]);
      const end = (place: Value): Value =>
        emit.reshape(emit.op('GatherElements', [states, emit.reshape(place, [n, 1])], { axis: 1 }), [1, n]);
      const before = emit.op('Max', [emit.sub(last, 1), emit.ints([0])]);
      const nothing = emit.compare('Equal', length, 0);
      const total = logSumExp(emit, [end(last), emit.where(nothing, NEVER, end(before))]);
      const symbolsCounted = emit.op('Max', [length, emit.ints([1])]);
      const perSymbol = emit.div(emit.neg(total), emit.cast(symbolsCounted, emit.dtype(logits) as 'float32'));
      return meanAll(emit, emit.where(emit.compare('Less', total, NEVER / 2), 0, perSymbol));
    },
  };
}

/**
 * The label with a blank around each symbol [N, 2L + 1], where a path may step over the blank between two different symbols (0,
 * else `NEVER`), and how many symbols there are [N].
 */
function paths(
  emit: Emitter,
  labels: Value,
  blank: number,
  like: Value,
): { symbols: Value; isSkip: Value; length: Value } {
  const [n, longest] = emit.shape(labels) as [number, number];
  const present = emit.compare('GreaterOrEqual', labels, 0);
  const length = emit.sum(emit.cast(present, 'int64'), [1], false);
  const filled = emit.where(present, labels, emit.fill([n, longest], blank, labels));
  const blanks = emit.fill([n, longest, 1], blank, labels);
  const pairs = emit.concat([blanks, emit.reshape(filled, [n, longest, 1])], 2);
  const symbols = emit.concat([emit.reshape(pairs, [n, 2 * longest]), emit.fill([n, 1], blank, labels)], 1);
  const previous = emit.concat([emit.fill([n, 2], blank, labels), emit.slice(symbols, [1], [0], [2 * longest - 1])], 1);
  const mayNot = emit.op('Or', [emit.compare('Equal', symbols, blank), emit.compare('Equal', symbols, previous)]);
  const isSkip = emit.where(mayNot, emit.scalar(NEVER, like), emit.scalar(0, like));
  return { symbols, isSkip, length };
}

/** log of the sum of the exponentials of `terms` [1, ...], without overflow. */
function logSumExp(emit: Emitter, terms: readonly Value[]): Value {
  return emit.op('ReduceLogSumExp', [emit.concat(terms, 0), emit.ints([0])], { keepdims: 1 });
}

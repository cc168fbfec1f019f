import { dtypeOfCode } from '../../dtype.js';
import type { Dim } from '../../ir/type.js';
import { addDim, floorDivDim, mulDim, subDim } from '../dim.js';
import { normalizeAxis, type Op, type Rule, type RuleTable, tensor, unknownShape, withDim } from '../op.js';

/** Number of distinct bins of the transform of a real signal of `length`. */
const halfSpectrum = (length: Dim): Dim => addDim(floorDivDim(length, 2), 1);

const dft: Rule = (op) => {
  const input = op.shape(0);
  const axis = input && dftAxis(op, input.length);
  if (!input || axis === undefined) return [tensor(op.dtype(0), input && unknownShape(input.length))];
  const half = op.int('onesided', 0) !== 0;
  const back = half && op.int('inverse', 0) !== 0;
  const own = input[axis] as Dim;
  const given = op.has(1) ? (op.values(1)?.[0] ?? null) : undefined;
  // The inverse of a half spectrum is a real signal.
  const length = given === undefined ? (back ? mulDim(2, subDim(own, 1)) : own) : given;
  const shape = withDim(input, axis, half && !back ? halfSpectrum(length) : length);
  return [tensor(op.dtype(0), withDim(shape, input.length - 1, back ? 1 : 2))];
};

/** Version 20 made the axis an input. */
function dftAxis(op: Op, rank: number): number | undefined {
  const axis = op.version < 20 ? op.int('axis', 1) : op.has(2) ? op.scalar(2) : -2;
  return axis === undefined ? undefined : normalizeAxis(axis, rank);
}

const stft: Rule = (op) => {
  const window = op.has(2) ? op.dim(2, 0) : null;
  const length = op.has(3) ? (op.values(3)?.[0] ?? window) : window;
  const step = op.values(1)?.[0] ?? null;
  const frames = addDim(floorDivDim(subDim(op.dim(0, 1), length), step), 1);
  const bins = op.int('onesided', 1) !== 0 ? halfSpectrum(length) : length;
  return [tensor(op.dtype(0), [op.dim(0, 0), frames, bins, 2])];
};

const melWeightMatrix: Rule = (op) => [
  tensor(dtypeOfCode(op.int('output_datatype', 1)), [
    halfSpectrum(op.values(1)?.[0] ?? null),
    op.values(0)?.[0] ?? null,
  ]),
];

export const signal: RuleTable = { DFT: dft, STFT: stft, MelWeightMatrix: melWeightMatrix };

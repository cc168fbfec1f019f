import type { Graph } from '../../ir/graph.js';
import { type Dim, elementType, isTensorType, type Shape, tensorType, type ValueType } from '../../ir/type.js';
import { maxDim } from '../dim.js';
import { forgetShape, joinTypes } from '../merge.js';
import { type Known, normalizeAxis, type Op, type Rule, type RuleTable, tensor } from '../op.js';

const ifRule: Rule = (op) => {
  const branches = [op.attribute('else_branch', 'graph'), op.attribute('then_branch', 'graph')];
  const condition = op.scalar(0);
  const [other, then] = branches.map((graph) => (graph ? op.body(graph, []) : []));
  if (condition !== undefined) return (condition === 0 ? other : then) ?? [];
  return Array.from({ length: op.outputCount }, (_, i) => join(other?.[i], then?.[i]));
};

/** What is known of a value that is `a` or `b`. */
function join(a: Known | undefined, b: Known | undefined): Known {
  const same = a?.values && b?.values && a.values.length === b.values.length;
  return {
    type: joinTypes(a?.type, b?.type),
    values: same ? a.values?.map((v, i) => (v === b.values?.[i] ? v : null)) : undefined,
  };
}

/** How often a body is walked until what goes round in it is stable; then its shapes are given up. */
const MAX_ROUNDS = 4;

/**
 * The outputs of `body` when its states hold in every round: lengths that change from one round to the next are unknown.
 * `inputs` gives the inputs of the body for these states; its outputs from `skip` on are the next states.
 */
function steady(
  op: Op,
  body: Graph,
  initial: readonly (ValueType | undefined)[],
  skip: number,
  inputs: (states: readonly Known[]) => readonly Known[],
): { readonly states: readonly Known[]; readonly outputs: readonly Known[] } {
  let states = initial.map((type): Known => ({ type }));
  for (let round = 0; ; round++) {
    const outputs = op.body(body, inputs(states));
    const next = states.map((state, i): Known => ({ type: joinTypes(state.type, outputs[skip + i]?.type) }));
    if (next.every((state, i) => sameType(state.type, states[i]?.type))) return { states, outputs };
    states = round < MAX_ROUNDS ? next : next.map(({ type }) => ({ type: forgetShape(type) }));
    if (round > 2 * MAX_ROUNDS) return { states: initial.map(() => ({})), outputs: [] };
  }
}

function sameType(a: ValueType | undefined, b: ValueType | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A counter or condition of a loop: a scalar, or a vector of one where the body declares it so. */
function scalarFor(body: Graph, index: number, dtype: 'int64' | 'bool', value: Dim): Known {
  const declared = body.inputs[index]?.shape;
  return tensor(dtype, declared ? declared.map(() => 1) : undefined, [value]);
}

const loop: Rule = (op) => {
  const body = op.attribute('body', 'graph');
  if (!body) return [];
  const initial = Array.from({ length: Math.max(0, op.inputCount - 2) }, (_, i) => op.type(i + 2));
  // While the body runs the condition holds.
  const { states, outputs } = steady(op, body, initial, 1, (carried) => [
    scalarFor(body, 0, 'int64', null),
    scalarFor(body, 1, 'bool', 1),
    ...carried,
  ]);
  const endless = (!op.has(1) || op.scalar(1) === 1) && outputs[0]?.values?.[0] === 1;
  const trips = op.has(0) && endless ? maxDim(op.values(0)?.[0] ?? null, 0) : null;
  const scans = outputs.slice(1 + initial.length).map((known) => stacked(known, 0, trips ?? op.fresh()));
  return [...states, ...scans];
};

/** A tensor of `count` elements of type `known`, along a new axis. */
function stacked(known: Known | undefined, axis: number, count: Dim): Known {
  const type = known?.type;
  if (!isTensorType(type)) return {};
  const rank = type.shape && type.shape.length + 1;
  const at = rank === undefined ? undefined : normalizeAxis(axis, rank);
  if (!type.shape || at === undefined) return tensor(type.dtype);
  return tensor(type.dtype, [...type.shape.slice(0, at), count, ...type.shape.slice(at)]);
}

const scan: Rule = (op) => {
  const body = op.attribute('body', 'graph');
  if (!body) return [];
  // Version 8 has a leading input of sequence lengths, and a batch axis in front of everything.
  const batched = op.version < 9;
  const first = batched ? 1 : 0;
  const scanCount = op.int('num_scan_inputs', 0);
  const stateCount = op.inputCount - first - scanCount;
  if (stateCount < 0) return [];
  const inAxes = op.ints('scan_input_axes') ?? [];
  const outAxes = op.ints('scan_output_axes') ?? [];
  const [batch, length] = scanLengths(op, first + stateCount, scanCount, inAxes, batched);
  const elements = Array.from({ length: scanCount }, (_, i) =>
    element(op, first + stateCount + i, inAxes[i] ?? 0, batched),
  );
  const initial = Array.from({ length: stateCount }, (_, i) => {
    const type = op.type(first + i);
    return batched && isTensorType(type) ? tensorType(type.dtype, type.shape?.slice(1)) : type;
  });
  const { states, outputs } = steady(op, body, initial, 0, (carried) => [...carried, ...elements]);
  const results = [
    ...states,
    ...outputs.slice(stateCount).map((known, i) => stacked(known, batched ? 0 : (outAxes[i] ?? 0), length)),
  ];
  return batched ? results.map((known) => stacked(known, 0, batch)) : results;
};

/** Length of the batch and of the scanned axis, from whichever input tells. */
function scanLengths(op: Op, first: number, count: number, axes: readonly number[], batched: boolean): [Dim, Dim] {
  let batch: Dim = null;
  let length: Dim = null;
  for (let i = 0; i < count; i++) {
    const shape = op.shape(first + i);
    const axis = batched ? 1 : shape && normalizeAxis(axes[i] ?? 0, shape.length);
    batch ??= shape?.[0] ?? null;
    length ??= axis === undefined ? null : (shape?.[axis] ?? null);
  }
  return [batch, length];
}

/** One element of the scan input at `index`: without the scanned axis, and without the batch in version 8. */
function element(op: Op, index: number, axis: number, batched: boolean): Known {
  const shape = op.shape(index);
  const at = shape && normalizeAxis(axis, shape.length);
  const rest: Shape | undefined = batched
    ? shape?.slice(2)
    : at === undefined
      ? undefined
      : shape?.filter((_, i) => i !== at);
  return tensor(op.dtype(index), rest);
}

const sequenceMap: Rule = (op) => {
  const body = op.attribute('body', 'graph');
  if (!body) return [];
  const inputs = Array.from({ length: op.inputCount }, (_, i): Known => {
    const type = op.type(i);
    return type?.kind === 'sequence' ? { type: elementType(type) } : { type };
  });
  return op.body(body, inputs).map(({ type }) => ({ type: { kind: 'sequence', element: type } }));
};

export const controlFlow: RuleTable = { If: ifRule, Loop: loop, Scan: scan, SequenceMap: sequenceMap };

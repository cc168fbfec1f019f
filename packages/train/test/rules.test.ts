import { readdirSync, readFileSync } from 'node:fs';
import { GraphBuilder, type Model, type Random, seededRandom, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { RULES } from '../src/autodiff/rules/index.js';
import { checkGradient, expression } from './check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('the table of rules', () => {
  /** Operators whose rule is an explanation. */
  const refused = ['Loop', 'Scan'];
  const differentiable = Object.keys(RULES).filter((name) => !refused.includes(name));

  it('is what the documentation says', () => {
    const page = readFileSync(new URL('../../../docs/train.md', import.meta.url), 'utf8');
    const section = /^## Gradients\n([\s\S]*?)^## /m.exec(page)?.[1] ?? '';
    const rows = section.split('\n').filter((line) => /^\| [a-z]/.test(line));
    const claimed = rows.flatMap((row) => [...row.matchAll(/`([A-Z]\w+)`/g)].map(([, name]) => name));
    expect(claimed.toSorted()).toEqual(differentiable.toSorted());
    for (const name of refused) expect(section).toContain(`\`${name}\``);
  });

  it('has a test for each operator', () => {
    const folder = new URL('../src/autodiff/', import.meta.url);
    const files = readdirSync(folder, { encoding: 'utf8', recursive: true });
    const tests = files.filter((file) => file.endsWith('.test.ts'));
    const code = tests.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('\n');
    expect(Object.keys(RULES).filter((name) => !code.includes(`'${name}'`))).toEqual([]);
  });
});

describe('random graphs of smooth operators', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => seed))('seed %i', async (seed) => {
    await checkGradient(engine, randomGraph(seededRandom(seed + 1)), { seed, samples: 8 });
  });
});

/** A dozen random operations on what was computed before; values are kept small, so that differences stay exact. */
function randomGraph(random: Random): Model {
  const b = new GraphBuilder();
  return expression(b, { x: [2, 3], y: [3], z: [2, 3, 4], w: [4, 3] }, ({ x, y, z, w }) => {
    const pool: Sized[] = [
      { value: x!, dims: [2, 3] },
      { value: y!, dims: [3] },
      { value: z!, dims: [2, 3, 4] },
      { value: w!, dims: [4, 3] },
    ];
    const results: Value[] = [];
    while (results.length < 12) {
      const of = (): Sized => pool[random.integer(pool.length)] as Sized;
      const made = (OPERATIONS[random.integer(OPERATIONS.length)] as Operation)(b, of, random);
      if (!made) continue;
      for (const { value, dims } of made) {
        const bounded = b.op('Sin', [value]);
        pool.push({ value: bounded, dims });
        results.push(bounded);
      }
    }
    // The inputs are outputs too, so that each has a gradient whatever was drawn.
    return [...results.slice(-3), ...[x!, y!, z!, w!].map((v) => b.op('Tanh', [v]))];
  });
}

interface Sized {
  readonly value: Value;
  readonly dims: readonly number[];
}

/** Draws operands with `of`, and gives up with undefined when they do not fit. */
type Operation = (b: GraphBuilder, of: () => Sized, random: Random) => readonly Sized[] | undefined;

const unary =
  (type: string): Operation =>
  (b, of) => {
    const { value, dims } = of();
    return [{ value: b.op(type, [value]), dims }];
  };

const binary =
  (type: string): Operation =>
  (b, of) => {
    const [left, right] = [of(), of()];
    const dims = broadcast(left.dims, right.dims);
    return dims && [{ value: b.op(type, [left.value, right.value]), dims }];
  };

const alongAxis =
  (type: string, attributes: Readonly<Record<string, number>>, input = false): Operation =>
  (b, of, random) => {
    const { value, dims } = of();
    const axis = random.integer(dims.length) - (random.integer(2) ? dims.length : 0);
    const made = input
      ? b.op(type, [value, type === 'CumSum' ? Tensor.of('int64', [], [axis]) : [axis]], attributes)
      : b.op(type, [value], { ...attributes, axis });
    return [{ value: made, dims: attributes.keepdims === undefined ? dims : dims.with(axis, 1) }];
  };

const matmul: Operation = (b, of) => {
  const [left, right] = [of(), of()];
  const [m, k] = left.dims.slice(-2);
  if (left.dims.length < 2 || right.dims.length !== 2 || k !== right.dims[0]) return undefined;
  const dims = [...left.dims.slice(0, -2), m, right.dims[1]] as number[];
  return [{ value: b.op('MatMul', [left.value, right.value]), dims }];
};

const transpose: Operation = (b, of) => {
  const { value, dims } = of();
  return [{ value: b.op('Transpose', [value]), dims: dims.toReversed() }];
};

const reshape: Operation = (b, of) => {
  const { value, dims } = of();
  const flat = dims.reduce((product, d) => product * d, 1);
  const shape = flat % 2 === 0 ? [2, flat / 2] : [flat];
  return [{ value: b.op('Reshape', [value, shape]), dims: shape }];
};

const slice: Operation = (b, of, random) => {
  const { value, dims } = of();
  const axis = random.integer(dims.length);
  const length = dims[axis] as number;
  if (random.integer(2)) return [{ value: b.op('Slice', [value, [-1], [-1000], [axis], [-1]]), dims }];
  if (length < 2) return undefined;
  return [{ value: b.op('Slice', [value, [1], [1000], [axis]]), dims: dims.with(axis, length - 1) }];
};

const concat: Operation = (b, of) => {
  const [left, right] = [of(), of()];
  if (left.dims.slice(1).join() !== right.dims.slice(1).join() || left.dims.length !== right.dims.length)
    return undefined;
  const dims = left.dims.with(0, (left.dims[0] as number) + (right.dims[0] as number));
  return [{ value: b.op('Concat', [left.value, right.value], { axis: 0 }), dims }];
};

const split: Operation = (b, of) => {
  const { value, dims } = of();
  const length = dims.at(-1) as number;
  if (length < 2) return undefined;
  const outputs = b.node('Split', [value, [1, length - 1]], { axis: -1 }, { outputs: 2 }).outputs as Value[];
  return outputs.map((part, i) => ({ value: part, dims: dims.with(-1, i ? length - 1 : 1) }));
};

const gather: Operation = (b, of, random) => {
  const { value, dims } = of();
  const axis = random.integer(dims.length);
  const at = [0, -1, 0, random.integer(dims[axis] as number)];
  return [{ value: b.op('Gather', [value, at], { axis }), dims: dims.with(axis, at.length) }];
};

const pad: Operation = (b, of) => {
  const { value, dims } = of();
  const pads = [...dims.map(() => 1), ...dims.map(() => 0)];
  return [{ value: b.op('Pad', [value, pads], { mode: 'edge' }), dims: dims.map((d) => d + 1) }];
};

const where: Operation = (b, of) => {
  const [left, right] = [of(), of()];
  const dims = broadcast(left.dims, right.dims);
  // The condition compares with 10: no difference quotient meets its jump.
  const condition = b.op('Less', [left.value, Tensor.of('float64', [], [10])]);
  return dims && [{ value: b.op('Where', [condition, left.value, right.value]), dims }];
};

const OPERATIONS: readonly Operation[] = [
  ...['Tanh', 'Sigmoid', 'Exp', 'Sin', 'Neg', 'Identity', 'Softmax', 'LogSoftmax'].map(unary),
  ...['Add', 'Sub', 'Mul', 'Sum'].map(binary),
  alongAxis('Softmax', {}),
  alongAxis('LogSoftmax', {}),
  alongAxis('CumSum', { exclusive: 1 }, true),
  alongAxis('ReduceSum', { keepdims: 1 }, true),
  alongAxis('ReduceMean', { keepdims: 1 }, true),
  alongAxis('ReduceLogSumExp', { keepdims: 1 }, true),
  alongAxis('ReduceSumSquare', { keepdims: 1 }, true),
  matmul,
  matmul,
  transpose,
  reshape,
  slice,
  concat,
  split,
  gather,
  pad,
  where,
];

/** The shape that both broadcast to, if there is one that stays small. */
function broadcast(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const at = (dims: readonly number[], i: number): number => dims[i - rank + dims.length] ?? 1;
  const dims = Array.from({ length: rank }, (_, i) => Math.max(at(a, i), at(b, i)));
  const fits = dims.every((d, i) => [1, d].includes(at(a, i)) && [1, d].includes(at(b, i)));
  return fits && dims.reduce((product, d) => product * d, 1) <= 200 ? dims : undefined;
}

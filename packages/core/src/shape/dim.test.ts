import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Dim } from '../ir/type.js';
import {
  addDim,
  broadcastDim,
  canonicalDim,
  ceilDivDim,
  dimBounds,
  dimNames,
  equalDims,
  evaluateDim,
  floorDivDim,
  lessDims,
  maxDim,
  minDim,
  modDim,
  mulDim,
  subDim,
  substituteDim,
} from './dim.js';

const NAMES = ['H', 'W', 'batch', 'past.len', 'odd name', 'x-y'] as const;
type Assignment = Record<(typeof NAMES)[number], number>;

/** An expression beside a plain function that computes it: the oracle. NaN: undefined (division by zero, bad broadcast). */
interface Expression {
  readonly dim: Dim;
  readonly value: (names: Assignment) => number;
}

const operations: Record<string, [(a: Dim, b: Dim) => Dim, (a: number, b: number) => number]> = {
  add: [addDim, (a, b) => a + b],
  sub: [subDim, (a, b) => a - b],
  mul: [mulDim, (a, b) => a * b],
  floorDiv: [floorDivDim, (a, b) => (b === 0 ? Number.NaN : Math.floor(a / b))],
  ceilDiv: [ceilDivDim, (a, b) => (b === 0 ? Number.NaN : Math.ceil(a / b))],
  mod: [modDim, (a, b) => (b === 0 ? Number.NaN : a - b * Math.floor(a / b))],
  min: [minDim, Math.min],
  max: [maxDim, Math.max],
  // Of lengths, which are not negative.
  broadcast: [
    broadcastDim,
    (a, b) => (a < 0 || b < 0 ? Number.NaN : a === 1 ? b : b === 1 || a === b ? a : Number.NaN),
  ],
};

const { tree } = fc.letrec<{ tree: Expression; leaf: Expression; node: Expression }>((tie) => ({
  tree: fc.oneof({ maxDepth: 4, depthSize: 'small' }, tie('leaf'), tie('node')),
  leaf: fc.oneof(
    fc.integer({ min: -4, max: 12 }).map((n): Expression => ({ dim: n, value: () => n })),
    fc.constantFrom(...NAMES).map((name): Expression => ({ dim: name, value: (names) => names[name] })),
  ),
  node: fc
    .tuple(fc.constantFrom(...Object.keys(operations)), tie('tree'), tie('tree'))
    .map(([name, a, b]): Expression => {
      const [symbolic, plain] = operations[name] as (typeof operations)[string];
      return { dim: symbolic(a.dim, b.dim), value: (names) => plain(a.value(names), b.value(names)) };
    }),
}));

const assignment = fc.record(
  Object.fromEntries(NAMES.map((n) => [n, fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 40 }))])),
) as fc.Arbitrary<Assignment>;

const RUNS = { numRuns: 4000, seed: 20 };

describe('dimension arithmetic', () => {
  it('agrees with plain arithmetic at every assignment', () => {
    let known = 0;
    fc.assert(
      fc.property(tree, assignment, ({ dim, value }, names) => {
        const expected = value(names);
        if (dim === null || Number.isNaN(expected)) return;
        known++;
        expect(evaluateDim(dim, names)).toBe(expected === 0 ? 0 : expected);
      }),
      RUNS,
    );
    expect(known).toBeGreaterThan(RUNS.numRuns / 2);
  });

  it('gives bounds that hold', () => {
    fc.assert(
      fc.property(tree, assignment, ({ dim, value }, names) => {
        const expected = value(names);
        if (dim === null || Number.isNaN(expected)) return;
        const [low, high] = dimBounds(dim);
        expect(expected).toBeGreaterThanOrEqual(low);
        expect(expected).toBeLessThanOrEqual(high);
      }),
      RUNS,
    );
  });

  it('proves only what is true', () => {
    fc.assert(
      fc.property(tree, tree, assignment, (a, b, names) => {
        const [x, y] = [a.value(names), b.value(names)];
        if (a.dim === null || b.dim === null || Number.isNaN(x) || Number.isNaN(y)) return;
        const equal = equalDims(a.dim, b.dim);
        if (equal !== undefined) expect(equal).toBe(x === y);
        const less = lessDims(a.dim, b.dim);
        if (less !== undefined) expect(less).toBe(x < y);
      }),
      RUNS,
    );
  });

  it('prints what it reads back', () => {
    fc.assert(
      fc.property(tree, ({ dim }) => {
        if (typeof dim !== 'string') return;
        expect(canonicalDim(dim)).toBe(dim);
      }),
      RUNS,
    );
  });

  it('substitutes as if the expression had been built from the replacement', () => {
    fc.assert(
      fc.property(tree, tree, assignment, (outer, inner, names) => {
        const replaced = { ...names, H: inner.value(names) };
        const expected = outer.value(replaced);
        const dim = substituteDim(outer.dim, new Map([['H', inner.dim]]));
        // Names stand for lengths: a negative replacement is no length.
        if (dim === null || !(replaced.H >= 0) || Number.isNaN(expected)) return;
        expect(evaluateDim(dim, names)).toBe(expected === 0 ? 0 : expected);
      }),
      RUNS,
    );
  });

  it.each([
    ['1 + H*2', '2*H + 1'],
    ['W*H', 'H*W'],
    ['(H + 1)*(H - 1)', 'H*H - 1'],
    ['H + H - 2*H', 0],
    ['floor((2*H + 4)/2)', 'H + 2'],
    ['floor((floor((H - 1)/2) + 1 - 1)/2) + 1', 'floor((H + 3)/4)'],
    ['ceil(H/2)', 'floor((H + 1)/2)'],
    ['H//2', 'floor(H/2)'],
    ['(batch*H + batch*W)//(H + W)', 'batch'],
    ['mod(4*H + 6, 4)', 2],
    ['max(0, H)', 'H'],
    ['Min(H, H + 1)', 'H'],
    ['min(H, min(3, W))', 'min(3, H, W)'],
    ['max(0, H - 3) + min(3, H)', 'H'],
    ['W - 2*min(H, 5) - 2*max(0, H - 5)', '-2*H + W'],
    ['batch-size', 'batch-size'],
    ['batch-size + 1', '`batch-size` + 1'],
    ['unk__12', 'unk__12'],
    ['any text (really)', 'any text (really)'],
    ['?', null],
    ['-1', null],
    ['7', 7],
    ['floor(H/0)', 'floor(H/0)'],
  ] as const)('reads %s as %s', (text, canonical) => {
    expect(canonicalDim(text)).toBe(canonical);
  });

  it('knows a length that a broadcast must have', () => {
    expect(broadcastDim('H', 1)).toBe('H');
    expect(broadcastDim('H', 5)).toBe(5);
    expect(broadcastDim('H', 'H')).toBe('H');
    expect(broadcastDim('H', 'W + 2')).toBe('W + 2');
    expect(broadcastDim('W', 'H')).toBe('broadcast(H, W)');
    expect(broadcastDim(broadcastDim('H', 'W'), 'H')).toBe('broadcast(H, W)');
    expect(broadcastDim('H', null)).toBe(null);
    expect(broadcastDim('H', minDim('H', 512))).toBe('H');
    expect(broadcastDim('H - 2', maxDim(subDim('H', 2), 0))).toBe('H - 2');
    expect(broadcastDim('H', minDim('H', 'W'))).toBe('broadcast(H, min(H, W))');
  });

  it('answers unknown instead of a number that is not exact', () => {
    expect(addDim(2 ** 53, 1)).toBe(null);
    expect(mulDim(mulDim(2 ** 40, 'H'), 2 ** 20)).toBe(null);
    expect(floorDivDim('H', 0)).toBe(null);
  });

  it('names the names', () => {
    expect([...dimNames('floor((H*batch + 1)/2) + `odd name`')].sort()).toEqual(['H', 'batch', 'odd name']);
  });
});

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MinCut, UNCUTTABLE } from './min-cut.js';

const graphs = fc.integer({ min: 0, max: 6 }).chain((inner) =>
  fc.record({
    inner: fc.constant(inner),
    edges: fc.array(
      fc.tuple(fc.integer({ min: 0, max: inner + 1 }), fc.integer({ min: 0, max: inner + 1 }), fc.nat(9)),
      { maxLength: 24 },
    ),
  }),
);

it('is as cheap as the cheapest of all splits', () => {
  fc.assert(
    fc.property(graphs, ({ inner, edges }) => {
      const cut = new MinCut();
      for (let i = 0; i < inner; i++) cut.vertex();
      for (const [from, to, cost] of edges) cut.edge(from, to, cost);
      const costOf = (onSource: (v: number) => boolean): number =>
        edges.reduce((sum, [from, to, cost]) => sum + (from !== to && onSource(from) && !onSource(to) ? cost : 0), 0);
      let best = Number.POSITIVE_INFINITY;
      for (let mask = 0; mask < 1 << inner; mask++) {
        best = Math.min(
          best,
          costOf((v) => v === 0 || (v >= 2 && ((mask >> (v - 2)) & 1) === 1)),
        );
      }
      const side = cut.sourceSide();
      expect(side[0]).toBe(1);
      expect(side[1]).toBe(0);
      expect(costOf((v) => side[v] === 1)).toBe(best);
    }),
    { seed: 1, numRuns: 300 },
  );
});

it('goes around edges that cannot be cut', () => {
  const cut = new MinCut();
  const [a, b] = [cut.vertex(), cut.vertex()];
  cut.edge(cut.source, a, UNCUTTABLE);
  cut.edge(a, b, 5);
  cut.edge(b, cut.sink, UNCUTTABLE);
  expect([...cut.sourceSide()]).toEqual([1, 0, 1, 0]);
});

it('takes a chain of 100 000 vertices', () => {
  const cut = new MinCut();
  let last = cut.source;
  for (let i = 0; i < 100_000; i++) {
    const next = cut.vertex();
    cut.edge(last, next, i === 70_000 ? 1 : 2);
    last = next;
  }
  cut.edge(last, cut.sink, 2);
  expect(cut.sourceSide().reduce((a, b) => a + b)).toBe(70_001);
});

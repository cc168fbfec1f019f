import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paretoFront } from '../pareto.js';
import { linearScale, logScale } from '../scale.js';
import { thinTicks } from './axes.js';
import { dumbbell, sparkline } from './bars.js';
import { density } from './density.js';
import { boxOf, overlap, placeLabels } from './labels.js';
import { matrix } from './matrix.js';
import { scatter } from './scatter.js';

const finite = fc.double({ min: -1e6, max: 1e6, noNaN: true });
const positive = fc.double({ min: 1e-3, max: 1e9, noNaN: true });

describe('scales', () => {
  it('keep every value inside, in order, with round ticks', () => {
    fc.assert(
      fc.property(fc.array(finite, { minLength: 1, maxLength: 20 }), (values) => {
        const scale = linearScale(values);
        for (const v of values) expect(Math.abs(scale(v) - 0.5)).toBeLessThanOrEqual(0.5 + 1e-9);
        const [a, b] = [Math.min(...values), Math.max(...values)];
        expect(scale(a)).toBeLessThanOrEqual(scale(b));
        expect(scale.ticks.length).toBeGreaterThanOrEqual(2);
        expect(scale.ticks.length).toBeLessThanOrEqual(12);
        for (const t of scale.ticks) expect(Math.abs(scale(t) - 0.5)).toBeLessThanOrEqual(0.5 + 1e-6);
      }),
      { seed: 2 },
    );
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 20 }), (values) => {
        const scale = logScale(values);
        for (const v of values) expect(Math.abs(scale(v) - 0.5)).toBeLessThanOrEqual(0.5);
        for (const t of scale.ticks) expect(Number(t.toPrecision(3))).toBe(t);
      }),
      { seed: 3 },
    );
  });

  it('give equal ratios equal lengths on a log scale', () => {
    const scale = logScale([1, 100]);
    expect(scale(10) - scale(1)).toBeCloseTo(scale(100) - scale(10), 12);
    expect(logScale([3.64e6, 14e6]).ticks).toEqual([5e6, 7e6, 10e6, 15e6]);
  });

  it('do not go over the largest possible value', () => {
    expect(linearScale([0.93, 0.991], { max: 1 }).domain[1]).toBe(1);
  });

  it('ticks keep their distance', () => {
    const scale = logScale([3.2e6, 16e6]);
    const ticks = thinTicks({ scale, format: (v) => `${v / 1e6}.00 MB` }, 120);
    expect(ticks.length).toBeLessThan(scale.ticks.length);
    for (let i = 1; i < ticks.length; i++)
      expect(((ticks[i]?.[0] ?? 0) - (ticks[i - 1]?.[0] ?? 0)) * 120).toBeGreaterThan(40);
  });
});

describe('paretoFront', () => {
  it('in two dimensions is what a sweep by the first cost finds', () => {
    const cost = fc.integer({ min: 0, max: 12 });
    fc.assert(
      fc.property(fc.array(fc.tuple(cost, cost), { maxLength: 15 }), (points) => {
        // Sweep: going up in x, a point is on the front when its y is lower than all before; ties of both stay together.
        const expected = points.flatMap(([x, y], i) => {
          const left = points.filter(([qx]) => qx < x).map(([, qy]) => qy);
          const column = points.filter(([qx]) => qx === x).map(([, qy]) => qy);
          return y === Math.min(...column) && y < Math.min(Number.POSITIVE_INFINITY, ...left) ? [i] : [];
        });
        expect(paretoFront(points)).toEqual(expected);
      }),
      { seed: 4, numRuns: 500 },
    );
  });

  it('knows more than two costs', () => {
    const points = [
      [1, 5, 5],
      [5, 1, 5],
      [5, 5, 1],
      [5, 5, 5],
    ];
    expect(paretoFront(points)).toEqual([0, 1, 2]);
  });
});

describe('placeLabels', () => {
  const plot = { width: 290, height: 260 };

  it('separates labels of points that touch', () => {
    const points = [0, 1, 2, 3].map((i) => ({ x: 140 + 6 * i, y: 130 + 3 * i, width: 70 }));
    const boxes = placeLabels(points, plot).map((p, i) => boxOf(points[i]!, p));
    for (const [i, a] of boxes.entries()) for (const b of boxes.slice(i + 1)) expect(overlap(a, b)).toBe(0);
  });

  it('keeps labels inside the plot where there is room', () => {
    const points = [
      { x: 286, y: 20, width: 80 },
      { x: 3, y: 250, width: 80 },
    ];
    for (const [i, p] of placeLabels(points, plot).entries()) {
      const box = boxOf(points[i]!, p);
      expect(box.left).toBeGreaterThanOrEqual(0);
      expect(box.right).toBeLessThanOrEqual(plot.width);
    }
  });
});

describe('density', () => {
  it('of one Gaussian kernel per value is the sum of them', () => {
    const scale = linearScale([0, 1]);
    const sample = [0.2, 0.25, 0.3, 0.7];
    const curve = density(sample, scale);
    expect(Math.max(...curve)).toBe(1);
    // Bandwidth by Silverman's rule, by hand: sd 0.2287, IQR of the order statistics 0.1.
    const h = 0.9 * (0.1 / 1.34) * 4 ** -0.2;
    const at = (x: number): number => sample.reduce((s, v) => s + Math.exp(-0.5 * ((x - v) / h) ** 2), 0);
    const values = curve.map((_, i) => at(i / (curve.length - 1)));
    const top = Math.max(...values);
    for (const [i, v] of values.entries()) expect(curve[i]).toBeCloseTo(v / top, 10);
  });

  it('bears equal values and none', () => {
    expect(density([], linearScale([0, 1]))).toEqual([]);
    expect(Math.max(...density([0.5, 0.5, 0.5], linearScale([0, 1])))).toBe(1);
  });
});

describe('drawings', () => {
  it('put a point where its numbers say', () => {
    const x = { scale: linearScale([0, 10]), title: 'x', format: String };
    const y = { scale: linearScale([0, 10]), title: 'y', format: String };
    const point = { name: 'a', kind: 'accepted', x: 2.5, y: 7.5, details: [] } as const;
    expect(scatter([point], { label: 'l', x, y, better: 'higher' }).text).toContain('x="25%" y="25%"');
  });

  it('draw the front through those that were not refused', () => {
    const axis = (title: string) => ({ scale: linearScale([0, 10]), title, format: String });
    const at = (name: string, kind: 'accepted' | 'refused', x: number, y: number) => ({
      name,
      kind,
      x,
      y,
      details: [],
    });
    const points = [at('a', 'accepted', 2, 4), at('b', 'accepted', 8, 9), at('c', 'refused', 1, 9)];
    const svg = scatter(points, { label: 'l', x: axis('x'), y: axis('y'), better: 'higher' }).text;
    const steps = [...svg.matchAll(/class="front" x1="(.*?)" y1="(.*?)" x2="(.*?)" y2="(.*?)"/g)].map((m) =>
      m.slice(1),
    );
    expect(steps).toEqual([
      ['20%', '60%', '80%', '60%'],
      ['80%', '60%', '80%', '10%'],
    ]);
  });

  it('colour a change of the confusion by whether it is good', () => {
    const labels = ['a', 'b'];
    const cells = [
      [-2, 2],
      [0, 0],
    ];
    const svg = matrix({ labels, cells, kind: 'change', label: 'm' }).text;
    expect([...svg.matchAll(/<rect class="(good|bad)"/g)].map((m) => m[1])).toEqual(['bad', 'bad']);
    expect(svg).toContain('a taken for b: +2');
    const better = cells.map((row) => row.map((n) => -n));
    expect(matrix({ labels, cells: better, kind: 'change', label: 'm' }).text).toMatch(/class="good".*class="good"/s);
  });

  it('say nothing where there is nothing', () => {
    expect(dumbbell(null, 0.5).text).toBe('');
    expect(sparkline([1]).text).toBe('');
    expect(sparkline([0, 0]).text).not.toContain('NaN');
  });
});

/** A point that wants a label, in pixels from the top left of the plot. */
export interface LabelledPoint {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

export interface Placement {
  /** Offset of the text from its point, in pixels; the baseline is the text's vertical middle. */
  readonly dx: number;
  readonly dy: number;
  readonly anchor: 'start' | 'middle' | 'end';
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const GAP = 10;
const HALF_LINE = 7.5;

/** Where a label may go, the most wanted first: beside, above, below, then farther up and down, with a line to its point. */
const PLACES: readonly Placement[] = [
  { dx: GAP, dy: 0, anchor: 'start' },
  { dx: -GAP, dy: 0, anchor: 'end' },
  { dx: 0, dy: -17, anchor: 'middle' },
  { dx: 0, dy: 17, anchor: 'middle' },
  ...[13, 26, 39, 52, 65].flatMap((dy): Placement[] => [
    { dx: GAP, dy: -dy, anchor: 'start' },
    { dx: GAP, dy, anchor: 'start' },
    { dx: -GAP, dy: -dy, anchor: 'end' },
    { dx: -GAP, dy, anchor: 'end' },
  ]),
];

/** From this distance on, a line leads from the point to its label. */
export const LEADER = 20;

/**
 * Puts a label beside each point so that they cover neither each other nor the points, as far as that goes: greedy, in the
 * order given (the most important first), each at the place with the least overlap.
 */
export function placeLabels(points: readonly LabelledPoint[], plot: { width: number; height: number }): Placement[] {
  const taken: Box[] = points.map((p) => ({ left: p.x - 7, right: p.x + 7, top: p.y - 7, bottom: p.y + 7 }));
  return points.map((point, i) => {
    let best = PLACES[0] as Placement;
    let least = Number.POSITIVE_INFINITY;
    for (const place of PLACES) {
      const box = boxOf(point, place);
      const others = taken.reduce((sum, t, j) => sum + (j === i ? 0 : overlap(box, t)), 0);
      const cost = others + outside(box, plot) * 2;
      if (cost < least - 1e-9) {
        best = place;
        least = cost;
      }
    }
    taken.push(boxOf(point, best));
    return best;
  });
}

/** The rectangle that a placed label covers. */
export function boxOf({ x, y, width }: LabelledPoint, { dx, dy, anchor }: Placement): Box {
  const at = x + dx;
  const left = anchor === 'start' ? at : anchor === 'end' ? at - width : at - width / 2;
  return { left, right: left + width, top: y + dy - HALF_LINE, bottom: y + dy + HALF_LINE };
}

export function overlap(a: Box, b: Box): number {
  const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return w > 0 && h > 0 ? w * h : 0;
}

function outside(box: Box, { width, height }: { width: number; height: number }): number {
  const w = Math.max(0, -box.left) + Math.max(0, box.right - width);
  const h = Math.max(0, -box.top) + Math.max(0, box.bottom - height);
  return w * (box.bottom - box.top) + h * (box.right - box.left);
}

/** A point with costs: less is better on every axis. */
export type Costs = readonly number[];

/**
 * The Pareto front: indices of the points that no other point beats, in their order. A point is beaten by one that is at most
 * as costly on every axis and cheaper on one. Equal points do not beat each other.
 */
export function paretoFront(points: readonly Costs[]): number[] {
  return points.flatMap((p, i) => (points.some((q) => beats(q, p)) ? [] : [i]));
}

function beats(q: Costs, p: Costs): boolean {
  return q.every((c, axis) => c <= (p[axis] as number)) && q.some((c, axis) => c < (p[axis] as number));
}

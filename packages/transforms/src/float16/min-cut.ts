/** Larger than any cost: an edge that cannot be cut. */
export const UNCUTTABLE = Number.POSITIVE_INFINITY;

/**
 * A directed graph between a source and a sink. `sourceSide` splits it where the edges from the source's side to the sink's
 * cost least (max-flow min-cut theorem; flow by Dinic's algorithm, 1970).
 */
export class MinCut {
  readonly source = 0;
  readonly sink = 1;
  #vertices = 2;
  /** Edges in pairs: 2k and its reverse 2k + 1. */
  readonly #target: number[] = [];
  readonly #capacity: number[] = [];
  readonly #edges: number[][] = [[], []];

  vertex(): number {
    this.#edges.push([]);
    return this.#vertices++;
  }

  /** Costs `cost` when `from` ends on the source's side and `to` on the sink's. */
  edge(from: number, to: number, cost: number): void {
    if (from === to || cost <= 0) return;
    (this.#edges[from] as number[]).push(this.#target.length);
    this.#target.push(to);
    this.#capacity.push(cost);
    (this.#edges[to] as number[]).push(this.#target.length);
    this.#target.push(from);
    this.#capacity.push(0);
  }

  /** The vertices on the source's side of a cheapest cut, as flags by vertex: as few of them as possible. */
  sourceSide(): Uint8Array {
    for (let level = this.#levels(); (level[this.sink] as number) >= 0; level = this.#levels()) {
      const next = new Int32Array(this.#vertices);
      while (this.#augment(level, next) > 0);
    }
    return Uint8Array.from(this.#levels(), (level) => (level >= 0 ? 1 : 0));
  }

  /** Distance from the source along edges with capacity left; -1 where none leads. */
  #levels(): Int32Array {
    const level = new Int32Array(this.#vertices).fill(-1);
    level[this.source] = 0;
    const queue = [this.source];
    for (const vertex of queue) {
      for (const edge of this.#edges[vertex] as number[]) {
        const to = this.#target[edge] as number;
        if ((level[to] as number) < 0 && (this.#capacity[edge] as number) > 0) {
          level[to] = (level[vertex] as number) + 1;
          queue.push(to);
        }
      }
    }
    return level;
  }

  /** Pushes flow along one shortest path; 0 when there is none. An explicit path: models are deeper than the stack. */
  #augment(level: Int32Array, next: Int32Array): number {
    const path: number[] = [];
    let at = this.source;
    while (at !== this.sink) {
      const edges = this.#edges[at] as number[];
      const i = next[at] as number;
      if (i < edges.length) {
        const edge = edges[i] as number;
        const to = this.#target[edge] as number;
        if ((this.#capacity[edge] as number) > 0 && level[to] === (level[at] as number) + 1) {
          path.push(edge);
          at = to;
        } else next[at] = i + 1;
      } else {
        const back = path.pop();
        if (back === undefined) return 0;
        at = this.#target[back ^ 1] as number;
        next[at] = (next[at] as number) + 1;
      }
    }
    const flow = Math.min(...path.map((edge) => this.#capacity[edge] as number));
    if (flow === UNCUTTABLE) throw new Error('source and sink are joined by edges that cannot be cut');
    for (const edge of path) {
      (this.#capacity[edge] as number) -= flow;
      (this.#capacity[edge ^ 1] as number) += flow;
    }
    return flow;
  }
}

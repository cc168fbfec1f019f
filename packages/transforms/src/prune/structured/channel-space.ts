/**
 * The channels along one axis of one tensor, by number, in order; null when nothing along it can be removed. One channel may
 * lie on many axes (that is what couples them), and several times on one.
 */
export type Axis = Int32Array | null;

/** One way of writing an axis as a grid of factors: `hidden = heads x size`. Its channels stay when all of their factors' do. */
interface Product {
  readonly whole: number;
  readonly parts: readonly number[];
}

/** A place that splits an axis into factors, and the channels of each. */
interface Site {
  readonly key: string;
  readonly factors: readonly Axis[];
}

/**
 * Channels and what couples them: a union-find (Tarjan) over channels that stay or go together, with two additions. A channel
 * may be *pinned*: it stays, for a reason. A channel may be a *product* of others: position `(head, column)` of a hidden state
 * stays exactly when its head and its column do, so that heads and columns can be removed independently of each other.
 *
 * Where one axis is written as two grids that do not fit, their factors would have to go in lockstep. `reduced` lists factors
 * that were given up for that, so that the others stay free: the groups of a channel shuffle, for one.
 */
export class ChannelSpace {
  readonly #parent: number[] = [];
  readonly #pinned: (string | undefined)[] = [];
  readonly #inexact: boolean[] = [];
  readonly #products: Product[] = [];
  readonly #sites: Site[] = [];
  /** After `solve`: the factors of a channel that is a product. */
  #parts = new Map<number, readonly number[]>();
  readonly #units = new Map<number, readonly number[]>();

  constructor(private readonly reduced: ReadonlySet<string> = new Set()) {}

  /** `count` new channels that nothing is known of. */
  fresh(count: number): Int32Array {
    const first = this.#parent.length;
    for (let i = 0; i < count; i++) {
      this.#parent.push(first + i);
      this.#pinned.push(undefined);
      this.#inexact.push(false);
    }
    return Int32Array.from({ length: count }, (_, i) => first + i);
  }

  /** The channel that stands for all that are tied to `channel`. */
  find(channel: number): number {
    const parent = this.#parent;
    let at = channel;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at] as number] as number;
      at = parent[at] as number;
    }
    return at;
  }

  /** Both stay or both go. Answers whether that is new. */
  tie(a: number, b: number): boolean {
    const [one, two] = [this.find(a), this.find(b)];
    if (one === two) return false;
    const keep = Math.min(one, two);
    const other = Math.max(one, two);
    this.#parent[other] = keep;
    this.#pinned[keep] ??= this.#pinned[other];
    this.#inexact[keep] ||= this.#inexact[other] as boolean;
    return true;
  }

  /** `channel` stays, because of `reason`. */
  pin(channel: number, reason: string): void {
    this.#pinned[this.find(channel)] ??= reason;
  }

  /** Why `channel` stays; undefined when it may go. */
  reason(channel: number): string | undefined {
    return this.#pinned[this.find(channel)];
  }

  /** Without `channel` the others are computed a little differently, even if it held nothing but zeros. */
  markInexact(channel: number): void {
    this.#inexact[this.find(channel)] = true;
  }

  isInexact(channel: number): boolean {
    return this.#inexact[this.find(channel)] as boolean;
  }

  /**
   * The axis made of `factors` (outermost first) with `lengths`, as Reshape merges axes: one channel for each point of the grid.
   * Null when no factor has channels.
   */
  merge(factors: readonly Axis[], lengths: readonly number[]): Axis {
    const free = factors.filter((axis) => axis !== null);
    if (free.length === 0) return null;
    const size = lengths.reduce((a, b) => a * b, 1);
    const grid = free.length === 1 ? new Int32Array(size) : this.fresh(size);
    forEachPoint(lengths, (at, point) => {
      const parts = partsAt(factors, point);
      if (parts.length === 1) grid[at] = parts[0] as number;
      else this.#products.push({ whole: at + (grid[0] as number), parts });
    });
    return grid;
  }

  /**
   * `axis` as a grid of `lengths`, as Reshape splits an axis: the channels of each factor. A factor that makes no difference
   * (every row of the grid is the same) has none. `key` names the place.
   */
  split(axis: Axis, lengths: readonly number[], key: string): Axis[] {
    if (!axis) return lengths.map(() => null);
    const strides = lengths.map((_, f) => lengths.slice(f + 1).reduce((a, b) => a * b, 1));
    const factors = lengths.map((length, f): Axis => {
      const stride = strides[f] as number;
      // The point with coordinate 0 along this factor.
      const origin = (at: number): number => Math.floor(at / (stride * length)) * stride * length + (at % stride);
      const varies = axis.some((id, at) => this.find(id) !== this.find(axis[origin(at)] as number));
      return varies && !this.reduced.has(`${key}:${f}`) ? this.fresh(length) : null;
    });
    this.#sites.push({ key, factors });
    forEachPoint(lengths, (at, point) => {
      this.#products.push({ whole: axis[at] as number, parts: partsAt(factors, point) });
    });
    return factors;
  }

  /**
   * Follows every product to its end: pins and ties pass between a channel and its factors. Answers the factors to give up in
   * the next attempt, as `reduced` takes them: the smallest of each place whose factors do not fit another's.
   */
  solve(): string[] {
    this.#settle();
    const before = this.#sites.map((site) => this.#freedom(site));
    while (this.#match()) this.#settle();
    return this.#sites.flatMap((site, i) => {
      if (this.#freedom(site) === before[i]) return [];
      const sizes = site.factors.map((axis) => axis?.length ?? Number.POSITIVE_INFINITY);
      return [`${site.key}:${sizes.indexOf(Math.min(...sizes))}`];
    });
  }

  /** After `solve`: the independent channels that must all stay for `channel` to stay; none when it is pinned. */
  units(channel: number): readonly number[] {
    const root = this.find(channel);
    const present = this.#units.get(root);
    if (present) return present;
    const parts = this.#pinned[root] === undefined ? (this.#parts.get(root) ?? [root]) : [];
    const units = parts.length < 2 ? parts : [...new Set(parts.flatMap((part) => this.units(part)))];
    this.#units.set(root, units);
    return units;
  }

  /** Passes pins, and ties channels with a single factor left, until nothing changes. */
  #settle(): void {
    for (let changed = true; changed; ) {
      changed = false;
      for (const { whole, parts } of this.#products) {
        const reason = this.reason(whole);
        const free = this.#free(parts);
        if (reason !== undefined) {
          for (const part of free) this.pin(part, reason);
          changed ||= free.length > 0;
        } else if (free.length === 0) {
          this.pin(whole, parts.map((part) => this.reason(part)).find((r) => r) ?? 'it cannot be divided');
          changed = true;
        } else if (free.length === 1 && this.tie(whole, free[0] as number)) {
          changed = true;
        }
      }
    }
  }

  /** Ties the factors of channels that are products in several ways, in pairs where the grids fit, else all together. */
  #match(): boolean {
    let changed = false;
    this.#parts = new Map();
    for (const { whole, parts } of this.#products) {
      const root = this.find(whole);
      const free = this.#free(parts);
      if (this.#pinned[root] !== undefined || free.length < 2) continue;
      const present = this.#parts.get(root);
      if (free.includes(root)) changed = free.map((part) => this.tie(part, root)).includes(true) || changed;
      else if (!present) this.#parts.set(root, free);
      else if (present.length === free.length) {
        for (const [i, part] of free.entries()) changed = this.tie(part, present[i] as number) || changed;
      } else {
        for (const part of [...present, ...free]) changed = this.tie(part, root) || changed;
      }
    }
    return changed;
  }

  #free(parts: Iterable<number>): number[] {
    const free: number[] = [];
    for (const part of parts) {
      const root = this.find(part);
      if (this.#pinned[root] === undefined && !free.includes(root)) free.push(root);
    }
    return free;
  }

  /** How many channels of the factors of `site` can go independently of each other. */
  #freedom({ factors }: Site): number {
    const free = factors.flatMap((axis) => [...(axis ?? [])].filter((channel) => this.reason(channel) === undefined));
    return new Set(free.map((channel) => this.find(channel))).size;
  }
}

/** Consecutive parts of `axis` of these sizes. */
export function consecutive(axis: Int32Array, sizes: readonly number[]): Int32Array[] {
  const ends = sizes.map((_, i) => sizes.slice(0, i + 1).reduce((a, b) => a + b, 0));
  return ends.map((end, i) => axis.subarray(end - (sizes[i] as number), end));
}

/** The channels that meet at a point of the grid of `factors`. */
function partsAt(factors: readonly Axis[], point: readonly number[]): number[] {
  const parts: number[] = [];
  for (let f = 0; f < factors.length; f++) {
    const channel = factors[f]?.[point[f] as number];
    if (channel !== undefined) parts.push(channel);
  }
  return parts;
}

/** Calls `visit` for every point of a grid in row-major order, with its place in the row. */
function forEachPoint(lengths: readonly number[], visit: (at: number, point: readonly number[]) => void): void {
  const size = lengths.reduce((a, b) => a * b, 1);
  const point = lengths.map(() => 0);
  for (let at = 0; at < size; at++) {
    visit(at, point);
    for (let f = lengths.length - 1; f >= 0; f--) {
      point[f] = (point[f] as number) + 1;
      if ((point[f] as number) < (lengths[f] as number)) break;
      point[f] = 0;
    }
  }
}

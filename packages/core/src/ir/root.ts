/** What a whole tree of graphs shares: the file's IR version, and the names in use. */
export class GraphRoot {
  readonly #names = new Set<string>();
  /** How many values more have a name: graphs side by side may use the same. */
  readonly #shared = new Map<string, number>();
  /** The number to try first behind each hint: a graph of many nodes asks for the same ones over and over. */
  readonly #next = new Map<string, number>();

  constructor(public irVersion = 10) {}

  /** `hint`, or `hint_1`, `hint_2`, ...: a name that no value of the whole tree has. */
  freshName(hint: string): string {
    if (!this.#names.has(hint)) return hint;
    let next = this.#next.get(hint) ?? 1;
    while (this.#names.has(`${hint}_${next}`)) next++;
    this.#next.set(hint, next + 1);
    return `${hint}_${next}`;
  }

  /** @internal a value gets `name` */
  _take(name: string): void {
    const before = this.#names.size;
    this.#names.add(name);
    if (this.#names.size === before) this.#shared.set(name, (this.#shared.get(name) ?? 0) + 1);
  }

  /** @internal a value gives `name` up */
  _release(name: string): void {
    const others = this.#shared.get(name) ?? 0;
    if (others > 1) this.#shared.set(name, others - 1);
    else if (others === 1) this.#shared.delete(name);
    else this.#names.delete(name);
  }
}

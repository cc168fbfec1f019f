import type { Field, Table } from '../src/proto/schema.js';
import { writeVarint } from '../src/proto/wire.js';

/** Wire bytes of a random message, canonical or not. `wild` allows every liberty that Protocol Buffers grants a writer. */
export class RandomMessage {
  private budget: number;
  /** Messages made so far, some of which occur again. */
  private readonly made = new Map<Table, number[][]>();

  constructor(
    private readonly random: () => number,
    private readonly wild: boolean,
  ) {
    this.budget = 60;
  }

  private below(n: number): number {
    return Math.floor(this.random() * n);
  }

  private chance(p: number): boolean {
    return this.random() < p;
  }

  message(table: Table, depth: number): number[] {
    const before = this.made.get(table) ?? [];
    if (before.length > 0 && this.chance(0.3)) return before[this.below(before.length)] as number[];
    const message = this.newMessage(table, depth);
    this.made.set(table, [...before, message]);
    return message;
  }

  private newMessage(table: Table, depth: number): number[] {
    const fields: number[][] = [];
    const taken = new Set<string>();
    for (const field of table.fields) {
      if (this.chance(0.4) || field.rivals.some((rival) => taken.has(rival))) continue;
      taken.add(field.name);
      fields.push(...this.field(field, depth));
    }
    if (this.chance(0.2)) fields.push(this.unknown());
    if (this.wild) {
      if (this.chance(0.3) && table.fields[0]) fields.push(...this.field(table.fields[0], depth));
      if (this.chance(0.3)) fields.sort(() => this.random() - 0.5);
    }
    return fields.flat();
  }

  /** Each element as its own piece, so that pieces of several fields may mix. */
  private field(field: Field, depth: number): number[][] {
    if (field.kind === 'message') {
      const count = field.repeated ? this.below(3) : this.wild && this.chance(0.2) ? 2 : 1;
      const pieces: number[][] = [];
      for (let i = 0; i < count && depth > 0 && this.budget-- > 0; i++) {
        pieces.push(this.delimited(field.number, this.message(field.table as Table, depth - 1)));
      }
      return pieces;
    }
    const packed = field.kind.startsWith('packed');
    if (!field.repeated && !packed) return [this.element(field, true)];
    const elements = Array.from({ length: 1 + this.below(4) }, () => this.element(field, false));
    const numeric = packed || field.wireType !== 2;
    const asPacked = numeric && (this.wild && this.chance(0.3) ? !packed : packed);
    if (asPacked) {
      const cut = this.wild && this.chance(0.3) ? this.below(elements.length + 1) : elements.length;
      const pieces = [this.delimited(field.number, elements.slice(0, cut).flat())];
      if (cut < elements.length) pieces.push(this.delimited(field.number, elements.slice(cut).flat()));
      return pieces;
    }
    if (!numeric) return elements.map((element) => [...this.varint(field.number * 8 + 2), ...element]);
    return elements.map((element) => [...this.varint(field.number * 8 + field.wireType), ...element]);
  }

  private element(field: Field, tagged: boolean): number[] {
    const tag = tagged ? this.varint(field.tag) : [];
    switch (field.kind.replace('packed ', '')) {
      case 'float':
        return [...tag, ...this.bytes(4, 0x7e)];
      case 'double':
        return [...tag, ...this.bytes(8, 0x7e)];
      case 'int32':
        return [...tag, ...this.varint(this.below(2) ? this.below(1000) : -this.below(1000) - 1)];
      case 'int64':
      case 'uint64':
        return [...tag, ...this.varint(BigInt.asIntN(64, BigInt(this.below(2 ** 32)) << BigInt(this.below(40))))];
      case 'string': {
        const text = [
          ...new TextEncoder().encode(['', 'x', 'näme', '層/1:0', 'a'.repeat(40)][this.below(5)] as string),
        ];
        return [...tag, ...this.varint(text.length), ...text];
      }
      default: {
        const bytes = this.bytes(this.chance(0.05) ? 1500 : this.below(5), 255);
        return [...tag, ...this.varint(bytes.length), ...bytes];
      }
    }
  }

  private unknown(): number[] {
    const number = 900 + this.below(3);
    const kinds = [
      () => [...this.varint(number * 8), ...this.varint(this.below(1000))],
      () => [...this.varint(number * 8 + 1), ...this.bytes(8, 255)],
      () => this.delimited(number, this.bytes(this.chance(0.1) ? 1500 : 3, 255)),
      () => [...this.varint(number * 8 + 3), ...this.varint(8), 1, ...this.varint(number * 8 + 4)],
      () => [...this.varint(number * 8 + 5), ...this.bytes(4, 255)],
    ];
    return (kinds[this.below(kinds.length)] as () => number[])();
  }

  private delimited(number: number, content: number[]): number[] {
    return [...this.varint(number * 8 + 2), ...this.varint(content.length), ...content];
  }

  private bytes(length: number, max: number): number[] {
    return Array.from({ length }, () => this.below(max + 1));
  }

  private varint(value: number | bigint): number[] {
    const target = new Uint8Array(10);
    const length = writeVarint(target, 0, value);
    const bytes = [...target.subarray(0, length)];
    if (this.wild && length < 9 && this.chance(0.03)) {
      bytes[length - 1] = (bytes[length - 1] as number) | 128;
      bytes.push(0);
    }
    return bytes;
  }
}

/** Uniform numbers in [0, 1) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

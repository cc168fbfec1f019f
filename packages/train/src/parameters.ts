import { type HostTensor, PareError } from '@pare/core';
import type { KernelMemory, Kernels } from './kernels/kernels.js';
import { LARGEST_MEMORY, wasmMemory } from './kernels/wasm.js';
import { layOut, type ParameterSpec, padded, type Span, sizeOf } from './parameter-layout.js';

export { decays, type ParameterGroup, type ParameterSpec, type Span } from './parameter-layout.js';

/** A tensor of a ParameterStore. `values` and `gradient` are views of its flat buffers. */
export interface Parameter {
  readonly name: string;
  readonly dims: readonly number[];
  /** Place of the first element in every flat buffer. */
  readonly offset: number;
  readonly size: number;
  readonly values: Float32Array;
  readonly gradient: Float32Array;
  /** Largest magnitude of an element of the gradient, before its factor. */
  readonly gradientBound: number;
}

/** What a ParameterStore holds, as plain data. The arrays are the store's own memory: copy them to keep them. */
export interface ParameterState {
  readonly parameters: readonly Pick<Parameter, 'name' | 'dims' | 'offset'>[];
  /** Every flat buffer but the gradients: `values`, the state of the optimizer, `average`. */
  readonly buffers: Readonly<Record<string, Float32Array>>;
  /** Of each parameter that has a mask a byte an element, 0 where it is pruned. */
  readonly masks: Readonly<Record<string, Uint8Array>>;
}

/** Flat buffers that are reserved (not taken): values, gradients, two of the optimizer, an average, and some to spare. */
const ROOM = 8;
/** Elements that `addGradients` brings in at once: they stay in the first-level cache. */
const PIECE = 4096;

/**
 * The trained tensors of a model in flat float32 buffers: `values`, `gradients`, and as many of the optimizer's as it asks for.
 * The buffers lie in the memory of the kernels, so an update copies nothing; each tensor is a view that an engine takes as a
 * feed. The memory never grows, so views stay valid.
 *
 * Tensors that are updated alike lie side by side, whatever their order in `parameters`; each starts on a cache line, and the
 * gaps are zeros that stay zeros.
 */
export class ParameterStore {
  readonly parameters: readonly Parameter[];
  readonly spans: readonly Span[];
  /** Elements of each flat buffer, gaps included. */
  readonly length: number;
  readonly values: Float32Array;
  readonly gradients: Float32Array;
  readonly kernels: Kernels;
  readonly #memory: KernelMemory;
  readonly #byName = new Map<string, Parameter>();
  readonly #buffers = new Map<string, Float32Array>();
  readonly #masks = new Map<string, Uint8Array>();
  readonly #piece: Float32Array;
  #maskBytes: Uint8Array | undefined;
  #top = 0;

  /**
   * @param open makes the memory; for tests and benchmarks of the kernels.
   * @throws PareError `bad-option` when two parameters have the same name or a specification contradicts itself,
   *   `bad-model` when a value is NaN or infinite, `unsupported` when they don't fit in 4 GiB.
   */
  constructor(specs: readonly ParameterSpec[], open: (bytes: number) => KernelMemory = wasmMemory) {
    const { offsets, spans, length } = layOut(specs);
    this.spans = spans;
    this.length = length;
    const bytes = (PIECE + length * ROOM) * 4 + length;
    this.#memory = open(Math.min(bytes, LARGEST_MEMORY));
    this.kernels = this.#memory.kernels;
    this.#piece = this.#floats(PIECE, 'pieces');
    this.values = this.buffer('values');
    this.gradients = this.buffer('gradients');
    this.parameters = specs.map(({ name, dims, values: start, gradientScale = 1, gradientLimit = Infinity }, i) => {
      if (this.#byName.has(name)) throw new PareError('bad-option', `Two parameters are called "${name}".`);
      const offset = offsets[i] as number;
      const size = sizeOf(dims);
      const view = (flat: Float32Array): Float32Array => flat.subarray(offset, offset + size);
      const gradientBound = gradientLimit / gradientScale;
      const [values, gradient] = [view(this.values), view(this.gradients)];
      const parameter = { name, dims, offset, size, values, gradient, gradientBound };
      if (start) parameter.values.set(start);
      this.#byName.set(name, parameter);
      return parameter;
    });
    const bad = this.firstNonFinite('values');
    if (bad) throw new PareError('bad-model', `The weight ${bad}: it cannot be trained.`);
  }

  /** @throws PareError `bad-option` when there is none of that name. */
  get(name: string): Parameter {
    const parameter = this.#byName.get(name);
    if (!parameter) throw new PareError('bad-option', `There is no trained parameter "${name}".`);
    return parameter;
  }

  /**
   * The flat buffer called `name`; zeros when it is new.
   * @throws PareError `unsupported` when the memory is full.
   */
  buffer(name: string): Float32Array {
    let buffer = this.#buffers.get(name);
    if (!buffer) {
      buffer = this.#floats(this.length, name);
      this.#buffers.set(name, buffer);
    }
    return buffer;
  }

  /** Whether `buffer(name)` has been made. */
  has(name: string): boolean {
    return this.#buffers.has(name);
  }

  /** Where element `offset` of a flat buffer lies, for the kernels. */
  pointer(buffer: string, offset = 0): number {
    return this.buffer(buffer).byteOffset + offset * 4;
  }

  /** Views of each parameter in a flat array of this layout: a buffer, a snapshot, a worker's gradients. */
  views(flat: Float32Array): Map<string, Float32Array> {
    return new Map(this.parameters.map(({ name, offset, size }) => [name, flat.subarray(offset, offset + size)]));
  }

  /**
   * The parameters as an engine takes them, from a flat array of this layout. Default: a fresh snapshot of the values, since
   * what goes to another thread is copied by whole buffers, and that of the store is larger.
   */
  feeds(flat: Float32Array = this.snapshot()): Record<string, HostTensor> {
    const views = this.views(flat);
    return Object.fromEntries(
      this.parameters.map(({ name, dims }) => [
        name,
        { dtype: 'float32', dims, data: views.get(name) as Float32Array },
      ]),
    );
  }

  clearGradients(): void {
    this.gradients.fill(0);
  }

  /**
   * Adds `scale` times gradients of this layout: of another micro-batch, or of a shard of the batch.
   * @throws PareError `bad-option` when there is another number of them.
   */
  addGradients(more: Float32Array, scale = 1): void {
    if (more.length !== this.length) {
      throw new PareError('bad-option', `There are ${more.length} gradients where ${this.length} are needed.`);
    }
    const piece = this.#piece;
    for (let at = 0; at < this.length; at += PIECE) {
      const part = more.subarray(at, at + PIECE);
      piece.set(part);
      this.kernels.accumulate(this.pointer('gradients', at), piece.byteOffset, part.length, scale);
    }
  }

  /**
   * Prunes the elements of parameter `name` where `keep` is 0: they become 0 in every buffer, and `maskGradients` before each
   * update keeps them there. `undefined` lets all of them learn again.
   * @throws PareError `bad-option` when there is no such parameter or the mask has another size.
   */
  setMask(name: string, keep: Uint8Array | undefined): void {
    const { offset, size } = this.get(name);
    if (!keep) {
      this.#masks.delete(name);
      return;
    }
    if (keep.length !== size) {
      throw new PareError('bad-option', `The mask of "${name}" has ${keep.length} elements where ${size} are needed.`);
    }
    this.#maskBytes ??= new Uint8Array(this.#memory.buffer, this.#reserve(this.length, 'masks'), this.length);
    const mask = this.#maskBytes.subarray(offset, offset + size);
    mask.set(keep);
    this.#masks.set(name, mask);
    for (const buffer of this.#buffers.keys()) this.#applyMask(name, mask, buffer);
  }

  /** The mask of parameter `name`, 0 where it is pruned; undefined when it has none. */
  mask(name: string): Uint8Array | undefined {
    return this.#masks.get(name);
  }

  /**
   * Zeroes the gradients of pruned elements. Updates then leave their values and state at zero exactly: every rule is a sum of
   * products with the value, the state and the gradient.
   */
  maskGradients(): void {
    for (const [name, mask] of this.#masks) this.#applyMask(name, mask, 'gradients');
  }

  #applyMask(name: string, mask: Uint8Array, buffer: string): void {
    const { offset, size } = this.get(name);
    this.kernels.mask(this.pointer(buffer, offset), mask.byteOffset, padded(size));
  }

  /** Brings elements of gradients that are a sum of `divisor` ones down to their limits. NaN stays NaN. */
  limitGradients(divisor = 1): void {
    for (const { gradient, gradientBound } of this.parameters) {
      const bound = gradientBound * divisor;
      if (bound === Infinity) continue;
      for (let i = 0; i < gradient.length; i++) {
        const g = gradient[i] as number;
        if (Number.isFinite(g) && Math.abs(g) > bound) gradient[i] = Math.sign(g) * bound;
      }
    }
  }

  /** The first value of a flat buffer that is not finite, as `"name" holds NaN at element 3`; undefined when all are finite. */
  firstNonFinite(buffer: string): string | undefined {
    for (const { name, offset, size } of this.parameters) {
      const at = this.kernels.firstNonFinite(this.pointer(buffer, offset), padded(size));
      if (at >= 0) return `"${name}" holds ${this.buffer(buffer)[offset + at]} at element ${at}`;
    }
    return undefined;
  }

  /** A copy of a flat buffer, outside the memory of the kernels: the best weights so far. */
  snapshot(buffer = 'values'): Float32Array {
    return this.buffer(buffer).slice();
  }

  /** Makes a snapshot the values. What is pruned now stays pruned. */
  restore(snapshot: Float32Array): void {
    this.values.set(snapshot);
    for (const [name, mask] of this.#masks) this.#applyMask(name, mask, 'values');
  }

  /** All that training changes here, for a checkpoint. */
  state(): ParameterState {
    const { gradients: _, ...buffers } = Object.fromEntries(this.#buffers);
    return {
      parameters: this.parameters.map(({ name, dims, offset }) => ({ name, dims, offset })),
      buffers,
      masks: Object.fromEntries(this.#masks),
    };
  }

  /**
   * Takes over what `state()` of a store with the same parameters gave, bit for bit; gradients become zeros.
   * @throws PareError `bad-data` when it is of other parameters; nothing is changed then.
   */
  load(state: ParameterState): void {
    this.#checkFits(state);
    for (const name of this.#masks.keys()) this.setMask(name, undefined);
    for (const buffer of this.#buffers.values()) buffer.fill(0);
    for (const [name, buffer] of Object.entries(state.buffers)) this.buffer(name).set(buffer);
    for (const [name, keep] of Object.entries(state.masks)) this.setMask(name, keep);
  }

  #checkFits({ parameters, buffers, masks }: ParameterState): void {
    const here = this.parameters.map(describe);
    const there = parameters.map(describe);
    const at = [...here, ...there].findIndex((_, i) => here[i] !== there[i]);
    if (at >= 0) {
      const [mine = 'none', saved = 'none'] = [here[at], there[at]];
      throw new PareError(
        'bad-data',
        `The saved parameters are of another model or other settings: parameter ${at + 1} was ${saved}, and is ${mine} here.`,
      );
    }
    const sizes = [
      ...Object.entries({ values: new Float32Array(), ...buffers }).map(
        ([k, v]) => [k, v.length, this.length] as const,
      ),
      ...Object.entries(masks).map(([k, v]) => [`mask of "${k}"`, v.length, this.#byName.get(k)?.size ?? 0] as const),
    ];
    for (const [what, length, needed] of sizes) {
      if (length === needed) continue;
      throw new PareError('bad-data', `The saved ${what}: ${length} elements where ${needed} are needed.`);
    }
  }

  #floats(length: number, purpose: string): Float32Array {
    return new Float32Array(this.#memory.buffer, this.#reserve(length * 4, purpose), length);
  }

  #reserve(bytes: number, purpose: string): number {
    const at = this.#top;
    if (at + bytes > this.#memory.buffer.byteLength) {
      throw new PareError(
        'unsupported',
        `The ${purpose} of ${(this.length / 1e6).toFixed(0)} million parameters do not fit into 4 GiB beside the rest: freeze some layers, or take an optimizer with less state.`,
      );
    }
    this.#top = at + padded(bytes / 4) * 4;
    return at;
  }
}

function describe({ name, dims, offset }: Pick<Parameter, 'name' | 'dims' | 'offset'>): string {
  return `"${name}" [${dims.join(', ')}] at ${offset}`;
}

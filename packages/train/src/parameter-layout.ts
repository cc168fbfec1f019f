import { PareError } from '@pare/core';

/** How the optimizer treats a parameter. */
export interface ParameterGroup {
  /** Whether weight decay pulls it to zero. Default: `decays(dims)`. */
  readonly decay?: boolean | undefined;
  /** Factor on the learning rate. Default 1. */
  readonly learningRate?: number | undefined;
  /** Factor on the gradient: learned quantizer scales want one far below 1 (LSQ, Esser et al. 2020, section 2.2). Default 1. */
  readonly gradientScale?: number | undefined;
  /**
   * Largest magnitude of an element of the gradient, after its factor: one bad batch must not throw a learned scale out of any
   * range that it could come back from. Default none.
   */
  readonly gradientLimit?: number | undefined;
}

/** A tensor to train, and how. */
export interface ParameterSpec extends ParameterGroup {
  readonly name: string;
  readonly dims: readonly number[];
  /** Where it starts, row-major. Default zeros. */
  readonly values?: Float32Array | undefined;
}

/** A stretch of the flat buffers that is updated alike. Offset and length are multiples of 16. */
export interface Span {
  readonly offset: number;
  readonly length: number;
  readonly decay: boolean;
  readonly learningRate: number;
  readonly gradientScale: number;
}

/** Where the parameters lie in every flat buffer. */
export interface ParameterLayout {
  /** Of each specification, in their order. */
  readonly offsets: readonly number[];
  readonly spans: readonly Span[];
  /** Elements of a buffer, gaps included. */
  readonly length: number;
}

/** Elements of a cache line: where parameters begin, and what the kernels' lengths are multiples of. */
const LINE = 16;

/**
 * The usual policy: decay matrices and filters; leave out what has at most one dimension other than 1 (biases, gains and
 * shifts of normalizations, slopes, quantizer scales), where decay only hurts.
 */
export function decays(dims: readonly number[]): boolean {
  return dims.filter((d) => d !== 1).length > 1;
}

/**
 * Places parameters that are updated alike side by side, each on a cache line of its own.
 * @throws PareError `bad-option` when a specification contradicts itself.
 */
export function layOut(specs: readonly ParameterSpec[]): ParameterLayout {
  const groups = new Map<string, { members: number[]; alike: Omit<Span, 'offset' | 'length'> }>();
  for (const [i, spec] of specs.entries()) {
    check(spec);
    const { decay = decays(spec.dims), learningRate = 1, gradientScale = 1 } = spec;
    const alike = { decay, learningRate, gradientScale };
    const key = JSON.stringify(alike);
    if (!groups.has(key)) groups.set(key, { members: [], alike });
    groups.get(key)?.members.push(i);
  }
  const offsets: number[] = [];
  const spans: Span[] = [];
  let length = 0;
  for (const { members, alike } of groups.values()) {
    const offset = length;
    for (const i of members) {
      offsets[i] = length;
      length += padded(sizeOf((specs[i] as ParameterSpec).dims));
    }
    spans.push({ offset, length: length - offset, ...alike });
  }
  return { offsets, spans, length };
}

function check({ name, dims, values, learningRate = 1, gradientScale = 1 }: ParameterSpec): void {
  if (values && values.length !== sizeOf(dims)) {
    throw new PareError(
      'bad-option',
      `Parameter "${name}" of shape [${dims.join(', ')}] is given ${values.length} values.`,
    );
  }
  for (const [what, factor] of Object.entries({ learningRate, gradientScale })) {
    if (Number.isFinite(factor) && factor >= 0) continue;
    throw new PareError('bad-option', `The ${what} of parameter "${name}" is ${factor}: give a number of 0 or more.`);
  }
}

export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, d) => product * d, 1);
}

/** `size` rounded up to whole cache lines. */
export function padded(size: number): number {
  return Math.ceil(size / LINE) * LINE;
}

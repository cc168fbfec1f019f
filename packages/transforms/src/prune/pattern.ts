import { PareError } from '@pare/core';
import { rowsOf, type WeightView } from './weight-view.js';

/** N:M sparsity: of each `of` inputs of an output, `kept` remain. */
export interface Pattern {
  readonly kept: number;
  readonly of: number;
}

/** @throws PareError `bad-option` when `text` is no pattern. */
export function parsePattern(text: string): Pattern {
  const [, n, m] = /^(\d+):(\d+)$/.exec(text) ?? [];
  const [kept, of] = [Number(n), Number(m)];
  if (kept > 0 && kept < of) return { kept, of };
  throw new PareError('bad-option', `"${text}" is no pattern: "2:4" keeps 2 of each 4 weights, "4:8" 4 of each 8.`);
}

/** Of each `of` neighbours in a row the `of - kept` lowest go. */
export function cutBlocks(view: WeightView, scores: Float32Array, { kept, of }: Pattern): Uint8Array {
  const { bases, offsets } = rowsOf(view);
  const mask = new Uint8Array(scores.length).fill(1);
  for (const base of bases) {
    for (let start = 0; start < offsets.length; start += of) {
      for (let gone = kept; gone < of; gone++) {
        let lowest = -1;
        for (let k = start; k < start + of; k++) {
          const at = base + (offsets[k] as number);
          if (mask[at] === 1 && (lowest < 0 || (scores[at] as number) < (scores[lowest] as number))) lowest = at;
        }
        mask[lowest] = 0;
      }
    }
  }
  return mask;
}

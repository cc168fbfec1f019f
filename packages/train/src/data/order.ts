import { seededRandom, shuffle } from '@pare/core';

/** The samples of one epoch, shuffled: a function of its arguments alone, so that a run that is resumed needs no state. */
export function epochOrder(size: number, seed: number, epoch: number): Uint32Array {
  return Uint32Array.from(shuffle([...Array(size).keys()], seededRandom(mixSeed(seed, epoch))));
}

/** A seed (32 bits) that depends on every bit of every one of `numbers` (integers): the finalizer of MurmurHash3, chained. */
export function mixSeed(...numbers: readonly number[]): number {
  let hash = 0x2545f491;
  for (const n of numbers) for (const word of [n, Math.floor(n / 0x1_0000_0000)]) hash = finalize(hash ^ (word | 0));
  return hash >>> 0;
}

function finalize(hash: number): number {
  let h = (hash + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

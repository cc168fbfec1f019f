import { PareError } from '@pare/core';

/** Throws unless `least` <= value < `below`. */
export function checkRange(name: string, value: number, least: number, below: number): void {
  if (value >= least && value < below) return;
  const range = below === Infinity ? `a number of ${least} or more` : `a number from ${least} up to, but not, ${below}`;
  throw new PareError('bad-option', `The option ${name} is ${value}: give ${range}.`);
}

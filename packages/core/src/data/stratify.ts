import { type Random, shuffle } from '../random.js';

/**
 * `indices` shuffled, then dealt so that every prefix holds the labels in their shares (largest deficit first): cut it
 * anywhere, and both sides look like the whole. Leave `labelOf` out for samples without classes: they are only shuffled.
 */
export function stratify(
  indices: readonly number[],
  labelOf: ((index: number) => unknown) | undefined,
  random: Random,
): number[] {
  const shuffled = shuffle([...indices], random);
  if (!labelOf) return shuffled;
  const groups = new Map<unknown, number[]>();
  for (const i of shuffled) {
    const label = labelOf(i);
    const group = groups.get(label);
    if (group) group.push(i);
    else groups.set(label, [i]);
  }
  // The k-th of g members stands at (k + 1/2) / g of the way: sorting by that interleaves the groups evenly.
  const placed = [...groups.values()].flatMap((group) => group.map((i, k) => ({ i, at: (k + 0.5) / group.length })));
  return placed.sort((a, b) => a.at - b.at).map((p) => p.i);
}

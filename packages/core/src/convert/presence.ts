import { amend, type Message } from '../proto/message.js';

/**
 * ONNX is proto2: a field that is absent and one that holds its default are different bytes with the same meaning. The IR
 * knows the meaning only; these functions keep the bytes of whatever still means the same.
 */

/** `value`, or the original field when that means the same (absent means `fallback`). */
export function keep<T extends string | number | bigint>(value: T, origin: T | undefined, fallback: T): T | undefined {
  return value === (origin ?? fallback) ? origin : value;
}

/** `keep` for a text: absent when empty. */
export function keepText(value: string, origin: string | undefined): string | undefined {
  if (value === (origin ?? '')) return origin;
  return value === '' ? undefined : value;
}

type Entry = Message<'StringStringEntryProto'>;

export function readEntries(entries: readonly Entry[] | undefined): Map<string, string> {
  return new Map((entries ?? []).map((entry) => [entry.key ?? '', entry.value ?? '']));
}

/** `map` as entries; those of `origin` that still hold are kept as they are, in their order. */
export function writeEntries(
  map: ReadonlyMap<string, string> | undefined,
  origin: readonly Entry[] | undefined,
): readonly Entry[] | undefined {
  if (!map) return undefined;
  if (map.size === 0 && !origin) return undefined;
  const before = readEntries(origin);
  if (before.size === map.size && [...map].every(([key, value]) => before.get(key) === value)) return origin;
  const byKey = new Map((origin ?? []).map((entry) => [entry.key ?? '', entry]));
  return [...map].map(([key, value]) => amend('StringStringEntryProto', byKey.get(key), { key, value }));
}

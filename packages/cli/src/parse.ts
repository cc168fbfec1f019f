import { PareError } from '@pare/core';

/** `1%`, `0.01`, `0.5%` as a fraction. @throws PareError `bad-option`. */
export function parseFraction(text: string, option: string): number {
  const percent = text.trim().endsWith('%');
  const value = Number(text.trim().replace(/%$/, '')) / (percent ? 100 : 1);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new PareError('bad-option', `${option} ${text}: write a number such as 0.01 or 1%.`);
  }
  return value;
}

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};
const TIMES: Readonly<Record<string, number>> = { '': 1, MS: 1, S: 1000 };

/** `10MB`, `512KiB`, `1000000` in bytes. */
export const parseBytes = (text: string, option: string): number => quantity(text, option, BYTES, '10MB');

/** `100ms`, `0.5s`, `100` in milliseconds. */
export const parseMs = (text: string, option: string): number => quantity(text, option, TIMES, '100ms');

function quantity(text: string, option: string, units: Readonly<Record<string, number>>, example: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = units[(match?.[2] ?? '').toUpperCase()];
  if (!match || unit === undefined) throw new PareError('bad-option', `${option} ${text}: write it as ${example}.`);
  return Number(match[1]) * unit;
}

/** A whole number of at least `least`. */
export function parseCount(text: string, option: string, least = 1): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) {
    throw new PareError('bad-option', `${option} ${text}: write a whole number of at least ${least}.`);
  }
  return value;
}

/** `image=1,3,224,224` (several times) as shapes by input name; `?` leaves a dimension free. */
export function parseShapes(texts: readonly string[]): Record<string, (number | null)[]> {
  return Object.fromEntries(
    texts.map((text) => {
      const [name, dims] = assignment(text, '--fix-shape', 'image=1,3,224,224');
      return [
        name,
        dims === ''
          ? []
          : dims.split(',').map((d) => (d.trim() === '?' ? null : parseCount(d.trim(), `--fix-shape ${text}:`, 0))),
      ];
    }),
  );
}

/** `batch=1` (several times) as numbers by dimension name. */
export function parseDims(texts: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    texts.map((text) => {
      const [name, value] = assignment(text, '--fix-dim', 'batch=1');
      return [name, parseCount(value, `--fix-dim ${text}:`, 0)];
    }),
  );
}

function assignment(text: string, option: string, example: string): [string, string] {
  // Names may hold `=` themselves; the value never does.
  const at = text.lastIndexOf('=');
  if (at <= 0) throw new PareError('bad-option', `${option} ${text}: write it as ${option} ${example}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** `text` when it is one of `known`. */
export function oneOf<T extends string>(text: string | undefined, known: readonly T[], option: string): T | undefined {
  if (text === undefined) return undefined;
  const found = known.find((name) => name === text);
  if (!found) throw new PareError('bad-option', `${option} ${text}: choose one of ${known.join(', ')}.`);
  return found;
}

/** For options that may be given several times. */
export const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value];

import type { Dim } from '../ir/type.js';
import { broadcast, ceilDivide, extremum, floorDivide, minus, modulo, plus, times } from './arithmetic.js';
import { parse } from './parse.js';
import { type Atom, bounds, constant, denominator, type Polynomial, polynomial } from './polynomial.js';

/*
 * Arithmetic on dimensions. A dimension is a number, an expression over names in canonical form, or null for unknown;
 * unknown absorbs. Two dimensions of the same canonical text are equal for every assignment of the names. Names stand for
 * integers >= 0. Coefficients may be exact binary fractions (`0.5*H`): they come from float arithmetic on shapes.
 */

/** Numbers beyond this are not exact any more; arithmetic on them answers unknown. */
const LIMIT = 2 ** 53;
/** Expressions with more terms than this become unknown: they cost more than they tell. */
const MAX_TERMS = 24;
/** Binary digits that a fraction may have. */
const FRACTION = 2 ** 16;

const isExact = (n: number): boolean => Math.abs(n) < LIMIT && Number.isInteger(n * FRACTION);

function toDim(p: Polynomial): Dim {
  if (p.terms.length > MAX_TERMS || p.text.length > 400) return null;
  for (const term of p.terms) if (!isExact(term.coefficient)) return null;
  const value = constant(p);
  return value === undefined ? p.text : value + 0;
}

/** The dimension in canonical form: `1 + H*2` becomes `2*H + 1`, `-1`, `?` and the empty name become unknown. */
export function canonicalDim(dim: Dim): Dim {
  if (typeof dim === 'number') return dim < 0 ? null : dim;
  if (dim === null || UNKNOWN.has(dim)) return null;
  const canonical = toDim(parse(dim));
  return typeof canonical === 'number' && canonical < 0 ? null : canonical;
}

/** Names that exporters write where they mean "unknown", so that two of them need not be equal. */
const UNKNOWN: ReadonlySet<string> = new Set(['', '?', '-1', 'None', 'unk', 'unknown']);

function lift(a: Dim, b: Dim, numbers: (a: number, b: number) => number, symbols: typeof plus): Dim {
  if (a === null || b === null) return null;
  if (typeof a === 'number' && typeof b === 'number') {
    const value = numbers(a, b);
    return isExact(a) && isExact(b) && isExact(value) ? value + 0 : null;
  }
  return toDim(symbols(parse(a), parse(b)));
}

export const addDim = (a: Dim, b: Dim): Dim => lift(a, b, (x, y) => x + y, plus);
export const subDim = (a: Dim, b: Dim): Dim => lift(a, b, (x, y) => x - y, minus);

export function mulDim(a: Dim, b: Dim): Dim {
  // Zero times an unknown length is zero.
  return a === 0 || b === 0 ? 0 : lift(a, b, (x, y) => x * y, times);
}

/** floor(a / b); unknown when b is zero. */
export function floorDivDim(a: Dim, b: Dim): Dim {
  if (b === 0) return null;
  return lift(a, b, (x, y) => Math.floor(x / y), floorDivide);
}

/** ceil(a / b); unknown when b is zero. */
export function ceilDivDim(a: Dim, b: Dim): Dim {
  return b === 0 ? null : lift(a, b, (x, y) => Math.ceil(x / y), ceilDivide);
}

/** a - b * floor(a / b): the remainder with the sign of `b`. */
export function modDim(a: Dim, b: Dim): Dim {
  if (b === 0) return null;
  return lift(a, b, (x, y) => x - y * Math.floor(x / y), modulo);
}

export const minDim = (a: Dim, b: Dim): Dim => lift(a, b, Math.min, (x, y) => extremum('min', x, y));
export const maxDim = (a: Dim, b: Dim): Dim => lift(a, b, Math.max, (x, y) => extremum('max', x, y));

/** The length of a broadcast of lengths `a` and `b`, given that the broadcast is valid. */
export function broadcastDim(a: Dim, b: Dim): Dim {
  if (a === 1) return b;
  if (b === 1 || a === b) return a;
  // A known length other than 1 is the length of the result, whatever the other one is.
  if (typeof a === 'number') return a;
  if (typeof b === 'number') return b;
  if (a === null || b === null) return null;
  return toDim(broadcast(parse(a), parse(b)));
}

/** Product of dimensions; 1 of none. */
export const productDim = (dims: readonly Dim[]): Dim => (dims.includes(0) ? 0 : dims.reduce(mulDim, 1));
export const sumDim = (dims: readonly Dim[]): Dim => dims.reduce(addDim, 0);

/** True or false when that holds for every assignment of the names, undefined when it is not known. */
export function equalDims(a: Dim, b: Dim): boolean | undefined {
  if (a === null || b === null) return undefined;
  if (a === b) return true;
  const [low, high] = dimBounds(subDim(a, b));
  if (low === 0 && high === 0) return true;
  return low > 0 || high < 0 ? false : undefined;
}

/** True or false when it holds for every assignment, undefined when not known. */
export function lessDims(a: Dim, b: Dim): boolean | undefined {
  const [low, high] = dimBounds(subDim(b, a));
  if (low > 0) return true;
  return high <= 0 ? false : undefined;
}

/** Bounds that hold for every assignment of integers >= 0 to the names. */
export function dimBounds(dim: Dim): readonly [low: number, high: number] {
  if (dim === null) return [-Infinity, Infinity];
  return typeof dim === 'number' ? [dim, dim] : bounds(parse(dim));
}

/** floor of a dimension with fractional coefficients; itself when it is an integer already. */
export function floorDim(dim: Dim): Dim {
  if (dim === null) return null;
  if (typeof dim === 'number') return Math.floor(dim);
  const p = parse(dim);
  const d = denominator(p);
  return d === 1 ? dim : floorDivDim(mulDim(dim, d), d);
}

/** ceil of a dimension with fractional coefficients. */
export const ceilDim = (dim: Dim): Dim => subDim(0, floorDim(subDim(0, dim)));

/** The names in an expression. */
export function dimNames(dim: Dim): ReadonlySet<string> {
  const names = new Set<string>();
  if (typeof dim === 'string') collect(parse(dim), names);
  return names;
}

function collect(p: Polynomial, names: Set<string>): void {
  for (const { atoms } of p.terms) {
    for (const atom of atoms) {
      if (atom.kind === 'name') names.add(atom.text);
      else for (const arg of atom.args) collect(arg, names);
    }
  }
}

/** `dim` with some names replaced by dimensions; a name that maps to null makes the result unknown. */
export function substituteDim(dim: Dim, names: ReadonlyMap<string, Dim>): Dim {
  if (typeof dim !== 'string') return dim;
  const p = parse(dim);
  return sumDim(p.terms.map((t) => productDim([t.coefficient, ...t.atoms.map((a) => substituteAtom(a, names))])));
}

function substituteAtom(atom: Atom, names: ReadonlyMap<string, Dim>): Dim {
  if (atom.kind === 'name') {
    const value = names.get(atom.text);
    return value === undefined ? toDim(polynomial([{ coefficient: 1, atoms: [atom] }])) : value;
  }
  const args = atom.args.map((arg) => substituteDim(toDim(arg), names));
  return args.slice(1).reduce(FUNCTIONS[atom.kind], args[0] as Dim);
}

const FUNCTIONS: Record<Exclude<Atom['kind'], 'name'>, (a: Dim, b: Dim) => Dim> = {
  floor: floorDivDim,
  mod: modDim,
  min: minDim,
  max: maxDim,
  broadcast: broadcastDim,
};

/** The number that `dim` is when the names have these values; undefined when a name is missing. */
export function evaluateDim(dim: Dim, names: Readonly<Record<string, number>>): number | undefined {
  const value = substituteDim(dim, new Map(Object.entries(names)));
  return typeof value === 'number' ? value : undefined;
}

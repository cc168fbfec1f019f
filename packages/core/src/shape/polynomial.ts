/** A factor of a term: a name, or a function of polynomials that is not one itself. `text` is canonical. */
export type Atom =
  | { readonly kind: 'name'; readonly text: string }
  | {
      /** floor(a / b), mod(a, b); min, max and the length of a broadcast of several. */
      readonly kind: 'floor' | 'mod' | 'min' | 'max' | 'broadcast';
      readonly args: readonly Polynomial[];
      readonly text: string;
    };

/** coefficient * atoms[0] * atoms[1] * ... */
export interface Term {
  readonly coefficient: number;
  readonly atoms: readonly Atom[];
}

/**
 * A sum of terms in canonical form: like terms merged, zeros dropped, atoms and terms sorted. Equal polynomials have equal
 * text. Coefficients are integers or binary fractions.
 */
export interface Polynomial {
  readonly terms: readonly Term[];
  readonly text: string;
}

/** The canonical sum of `terms`. */
export function polynomial(terms: readonly Term[]): Polynomial {
  const merged = new Map<string, Term>();
  for (const term of terms) {
    const atoms = term.atoms.length > 1 ? [...term.atoms].sort(compareAtoms) : term.atoms;
    const key = atoms.map((a) => a.text).join('*');
    const before = merged.get(key);
    merged.set(key, { coefficient: term.coefficient + (before?.coefficient ?? 0), atoms });
  }
  const sorted = [...merged]
    .filter(([, t]) => t.coefficient !== 0)
    .sort(([a, x], [b, y]) => y.atoms.length - x.atoms.length || (a < b ? -1 : 1))
    .map(([, t]) => t);
  return { terms: sorted, text: print(sorted) };
}

const compareAtoms = (a: Atom, b: Atom): number => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0);

/** A function of `args` as an atom. */
export function call(kind: Exclude<Atom['kind'], 'name'>, args: readonly Polynomial[]): Atom {
  const [a, b] = args as readonly [Polynomial, Polynomial];
  const text =
    kind === 'floor' ? `floor(${group(a)}/${group(b)})` : `${kind}(${args.map((arg) => inner(arg)).join(', ')})`;
  return { kind, args, text };
}

/** A name that the grammar can read inside an expression. */
const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_.:]*$/;

function atomText(atom: Atom): string {
  return atom.kind !== 'name' || PLAIN_NAME.test(atom.text) ? atom.text : `\`${atom.text}\``;
}

function print(terms: readonly Term[]): string {
  // A name alone is written as it is, whatever it is.
  const only = terms.length === 1 ? terms[0] : undefined;
  if (only?.coefficient === 1 && only.atoms.length === 1) return (only.atoms[0] as Atom).text;
  return printSum(terms);
}

function printSum(terms: readonly Term[]): string {
  let text = '';
  for (const { coefficient, atoms } of terms) {
    const size = Math.abs(coefficient);
    const factors = [...(size === 1 && atoms.length > 0 ? [] : [`${size}`]), ...atoms.map(atomText)].join('*');
    text += text === '' ? (coefficient < 0 ? `-${factors}` : factors) : `${coefficient < 0 ? ' - ' : ' + '}${factors}`;
  }
  return text || '0';
}

/** As an argument of a function. */
const inner = (p: Polynomial): string => printSum(p.terms);

/** As a dividend or divisor: in parentheses unless it is one factor. */
function group(p: Polynomial): string {
  const only = p.terms.length === 1 ? (p.terms[0] as Term) : undefined;
  const simple =
    only && only.coefficient >= 0 && (only.atoms.length === 0 || (only.atoms.length === 1 && only.coefficient === 1));
  return simple || p.terms.length === 0 ? inner(p) : `(${inner(p)})`;
}

/** The number, when the polynomial is one. */
export function constant(p: Polynomial): number | undefined {
  if (p.terms.length === 0) return 0;
  const only = p.terms.length === 1 ? p.terms[0] : undefined;
  return only?.atoms.length === 0 ? only.coefficient : undefined;
}

/** The least power of two that makes all coefficients integers. */
export function denominator(p: Polynomial): number {
  let d = 1;
  for (const { coefficient } of p.terms) while (!Number.isInteger(coefficient * d) && d < 2 ** 20) d *= 2;
  return d;
}

type Interval = readonly [low: number, high: number];

/** Lower and upper bound when every name is an integer >= 0. */
export function bounds(p: Polynomial): Interval {
  let low = 0;
  let high = 0;
  for (const { coefficient, atoms } of p.terms) {
    const [a, b] = atoms.reduce<Interval>((interval, atom) => times(interval, atomBounds(atom)), [1, 1]);
    low += coefficient > 0 ? coefficient * a : coefficient * b;
    high += coefficient > 0 ? coefficient * b : coefficient * a;
  }
  return [low, high];
}

/** Product of two intervals; zero times infinity is zero, since the bound is never reached. */
function times([a, b]: Interval, [c, d]: Interval): Interval {
  const products = [a * c, a * d, b * c, b * d].map((x) => (Number.isNaN(x) ? 0 : x));
  return [Math.min(...products), Math.max(...products)];
}

function atomBounds(atom: Atom): Interval {
  if (atom.kind === 'name') return [0, Infinity];
  const args = atom.args.map(bounds);
  const [[a, b], [c, d]] = args as unknown as readonly [Interval, Interval];
  switch (atom.kind) {
    case 'floor': {
      if (c < 0) return [-Infinity, Infinity];
      // The divisor is at least 1, since it cannot be 0: the quotient is widest at its lower end.
      const least = Math.max(1, c);
      return [Math.floor(a < 0 ? a / least : a / d || 0), Math.floor(b < 0 ? b / d || 0 : b / least)];
    }
    case 'mod':
      return c >= 0 ? [0, d - 1] : [-Infinity, Infinity];
    case 'min':
      return [Math.min(...args.map((i) => i[0])), Math.min(...args.map((i) => i[1]))];
    case 'max':
      return [Math.max(...args.map((i) => i[0])), Math.max(...args.map((i) => i[1]))];
    case 'broadcast':
      return [Math.min(...args.map((i) => i[0])), Math.max(...args.map((i) => i[1]))];
  }
}

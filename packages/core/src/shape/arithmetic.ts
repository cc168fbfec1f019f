import {
  type Atom,
  bounds,
  call,
  constant,
  denominator,
  type Polynomial,
  polynomial,
  type Term,
} from './polynomial.js';

const one = polynomial([{ coefficient: 1, atoms: [] }]);
const atomAlone = (atom: Atom): Polynomial => polynomial([{ coefficient: 1, atoms: [atom] }]);
const byText = (a: Polynomial, b: Polynomial): number => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0);

export function plus(a: Polynomial, b: Polynomial): Polynomial {
  return cancelExtrema(polynomial([...a.terms, ...b.terms]));
}

/** What is cut off and what is left make the whole: max(x, y) + min(x - t, y - t) = x + y - t. */
function cancelExtrema(p: Polynomial): Polynomial {
  const pairs = p.terms.filter((t) => t.atoms.length === 1 && isPair(t.atoms[0] as Atom));
  for (const upper of pairs) {
    for (const lower of pairs) {
      const [max, min] = [upper.atoms[0] as Atom, lower.atoms[0] as Atom];
      if (max.kind !== 'max' || min.kind !== 'min' || upper.coefficient !== lower.coefficient) continue;
      const [x, y] = max.args as readonly [Polynomial, Polynomial];
      const shift = sameShift([x, y], min.args as readonly [Polynomial, Polynomial]);
      if (!shift) continue;
      const rest = p.terms.filter((t) => t !== upper && t !== lower);
      return plus(polynomial(rest), scale(minus(plus(x, y), shift), upper.coefficient));
    }
  }
  return p;
}

const isPair = (atom: Atom): boolean => (atom.kind === 'min' || atom.kind === 'max') && atom.args.length === 2;

/** What is to be added to both of one pair to have the other, in either order. */
function sameShift(
  [x, y]: readonly [Polynomial, Polynomial],
  [u, v]: readonly [Polynomial, Polynomial],
): Polynomial | undefined {
  const straight = minus(x, u);
  if (straight.text === minus(y, v).text) return straight;
  const crossed = minus(x, v);
  return crossed.text === minus(y, u).text ? crossed : undefined;
}

export function minus(a: Polynomial, b: Polynomial): Polynomial {
  return plus(a, scale(b, -1));
}

function scale(a: Polynomial, factor: number): Polynomial {
  return polynomial(a.terms.map((t) => ({ ...t, coefficient: t.coefficient * factor })));
}

export function times(a: Polynomial, b: Polynomial): Polynomial {
  const terms: Term[] = [];
  for (const x of a.terms) {
    for (const y of b.terms) {
      terms.push({ coefficient: x.coefficient * y.coefficient, atoms: [...x.atoms, ...y.atoms] });
    }
  }
  return polynomial(terms);
}

/** floor(a / b) for every assignment that does not make `b` zero. */
export function floorDivide(a: Polynomial, b: Polynomial): Polynomial {
  const fraction = Math.max(denominator(a), denominator(b));
  if (fraction > 1) return floorDivide(scale(a, fraction), scale(b, fraction));
  if (b.terms.length !== 1) return divideExactly(a, b) ?? atomAlone(call('floor', [a, b]));
  // What `b` divides goes in front: floor((b*q + r) / b) = q + floor(r / b).
  const quotient: Term[] = [];
  const rest: Term[] = [];
  for (const term of a.terms) {
    const q = divideTerm(term, b.terms[0] as Term);
    if (q) quotient.push(q);
    else rest.push(term);
  }
  if (rest.length === 0) return polynomial(quotient);
  return plus(polynomial(quotient), floorRest(polynomial(rest), b));
}

/** ceil(a / b) for every assignment that does not make `b` zero. */
export function ceilDivide(a: Polynomial, b: Polynomial): Polynomial {
  const by = constant(b);
  if (by === undefined || by <= 0 || denominator(b) > 1 || denominator(a) > 1) {
    return scale(floorDivide(scale(a, -1), b), -1);
  }
  return floorDivide(plus(a, scale(one, by - 1)), b);
}

/** floor(rest / b) where no term of `rest` is a multiple of `b`. */
function floorRest(rest: Polynomial, b: Polynomial): Polynomial {
  const by = constant(b);
  if (by === undefined || by < 0) return atomAlone(call('floor', [rest, b]));
  // Coefficients are taken modulo the divisor: floor((5*x + 7) / 3) = x + 2 + floor((2*x + 1) / 3).
  const whole = rest.terms.map((t) => ({ ...t, coefficient: Math.floor(t.coefficient / by) }));
  return plus(polynomial(whole), floorSmall(remainders(rest, by), by));
}

const remainders = (p: Polynomial, by: number): Polynomial =>
  polynomial(p.terms.map((t) => ({ ...t, coefficient: t.coefficient - by * Math.floor(t.coefficient / by) })));

/** floor(p / by) where all coefficients are from 1 to by - 1. */
function floorSmall(p: Polynomial, by: number): Polynomial {
  const [low, high] = bounds(p);
  if (Math.floor(low / by) === Math.floor(high / by)) {
    return polynomial([{ coefficient: Math.floor(low / by), atoms: [] }]);
  }
  // floor((floor(x / a) + c) / b) = floor((x + a*c) / (a*b)) for positive integers a, b.
  const [first, ...others] = p.terms;
  const atom = first?.coefficient === 1 && first.atoms.length === 1 ? first.atoms[0] : undefined;
  if (atom?.kind === 'floor' && others.every((t) => t.atoms.length === 0)) {
    const [x, a] = atom.args as readonly [Polynomial, Polynomial];
    const inner = constant(a);
    if (inner !== undefined && inner > 0) {
      return floorDivide(plus(x, scale(polynomial(others), inner)), scale(one, inner * by));
    }
  }
  const factor = p.terms.reduce((g, t) => gcd(g, t.coefficient), by);
  return atomAlone(call('floor', [scale(p, 1 / factor), scale(one, by / factor)]));
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** a / b when the remainder is zero as a polynomial: long division by leading terms. */
function divideExactly(a: Polynomial, b: Polynomial): Polynomial | undefined {
  const quotient: Term[] = [];
  let rest = a;
  for (let steps = 0; rest.terms.length > 0; steps++) {
    const term = divideTerm(rest.terms[0] as Term, b.terms[0] as Term);
    if (!term || steps > 16) return undefined;
    quotient.push(term);
    rest = minus(rest, times(polynomial([term]), b));
  }
  return polynomial(quotient);
}

/** term / by when that is a term with an integer coefficient. */
function divideTerm(term: Term, by: Term): Term | undefined {
  const coefficient = term.coefficient / by.coefficient;
  if (!Number.isInteger(coefficient)) return undefined;
  const atoms = [...term.atoms];
  for (const atom of by.atoms) {
    const index = atoms.findIndex((a) => a.text === atom.text);
    if (index < 0) return undefined;
    atoms.splice(index, 1);
  }
  return { coefficient, atoms };
}

/** a - b * floor(a / b). */
export function modulo(a: Polynomial, b: Polynomial): Polynomial {
  const by = constant(b);
  if (by === undefined || by < 0 || denominator(a) > 1 || denominator(b) > 1) return atomAlone(call('mod', [a, b]));
  const part = remainders(a, by);
  const [low, high] = bounds(part);
  return low >= 0 && high < by ? part : atomAlone(call('mod', [part, b]));
}

/** The smallest or greatest of two, without arguments that can never be it. */
export function extremum(kind: 'min' | 'max', a: Polynomial, b: Polynomial): Polynomial {
  const args: Polynomial[] = [];
  for (const candidate of [a, b].flatMap((p) => flatten(kind, p))) {
    if (args.some((other) => wins(kind, other, candidate))) continue;
    for (let i = args.length - 1; i >= 0; i--) if (wins(kind, candidate, args[i] as Polynomial)) args.splice(i, 1);
    args.push(candidate);
  }
  return args.length === 1 ? (args[0] as Polynomial) : atomAlone(call(kind, args.sort(byText)));
}

/** `a` is the extremum of the two for every assignment. */
function wins(kind: 'min' | 'max', a: Polynomial, b: Polynomial): boolean {
  const [low, high] = bounds(minus(a, b));
  return kind === 'min' ? high <= 0 : low >= 0;
}

/** The length of a broadcast of two valid lengths: the one that is not 1. */
export function broadcast(a: Polynomial, b: Polynomial): Polynomial {
  const args = new Map<string, Polynomial>();
  for (const p of [a, b].flatMap((p) => flatten('broadcast', p))) {
    // A length that is at least 2 is the length of the result, whatever the others are.
    if (bounds(p)[0] >= 2) return p;
    args.set(p.text, p);
  }
  const parts = [...args.values()];
  const kept = parts.filter((p) => !parts.some((whole) => whole !== p && isCutFrom(p, whole)));
  return kept.length === 1 ? (kept[0] as Polynomial) : atomAlone(call('broadcast', kept.sort(byText)));
}

/**
 * A broadcast of both has the length of `whole`, because `p` is the first so many of it, as when a table of positions is cut:
 * min(whole, 512); or because no length is negative: max(whole, 0).
 */
function isCutFrom(p: Polynomial, whole: Polynomial): boolean {
  const others = (kind: 'min' | 'max'): readonly Polynomial[] => {
    const parts = flatten(kind, p);
    return parts.some((part) => part.text === whole.text) ? parts.filter((part) => part.text !== whole.text) : [];
  };
  const [least, most] = [others('min'), others('max')];
  return (
    (least.length > 0 && least.every((part) => bounds(part)[0] >= 1)) ||
    (most.length > 0 && most.every((part) => bounds(part)[1] <= 0))
  );
}

/** The arguments of `p` when it is nothing but a `kind` of several, else itself. */
function flatten(kind: Atom['kind'], p: Polynomial): readonly Polynomial[] {
  const [term, ...more] = p.terms;
  const atom = more.length === 0 && term?.coefficient === 1 && term.atoms.length === 1 ? term.atoms[0] : undefined;
  return atom && atom.kind !== 'name' && atom.kind === kind ? atom.args : [p];
}

import { broadcast, ceilDivide, extremum, floorDivide, minus, modulo, plus, times } from './arithmetic.js';
import { bounds, constant, type Polynomial, polynomial } from './polynomial.js';

/*
 * sum     = ["-"] product { ("+" | " - ") product }
 * product = factor { ("*" | "//" ) factor }
 * factor  = number | name | `any name` | function "(" sum { "," sum } ")" | "(" sum ")"
 * The dividend and the divisor of floor and ceil are joined by "/". A minus between two operands has spaces around it,
 * because "batch-size" is a name.
 */
const TOKEN = /\s*(?:(\d+(?:\.\d+)?)|`([^`]+)`|([A-Za-z_][A-Za-z0-9_.:]*(?:-[A-Za-z_0-9.:]+)*)|(\/\/|[-+*/(),]))/y;
const CACHE_SIZE = 20_000;
const cache = new Map<string, Polynomial>();

/** The polynomial that `dim` is. A text outside the grammar is the name of one dimension, as a whole. */
export function parse(dim: number | string): Polynomial {
  if (typeof dim === 'number') return polynomial([{ coefficient: dim, atoms: [] }]);
  let p = cache.get(dim);
  if (!p) {
    p = (dim.length <= 400 ? new Parser(dim).parse() : undefined) ?? name(dim);
    if (cache.size >= CACHE_SIZE) cache.clear();
    cache.set(dim, p);
    if (p.text !== dim) cache.set(p.text, p);
  }
  return p;
}

const name = (text: string): Polynomial => polynomial([{ coefficient: 1, atoms: [{ kind: 'name', text }] }]);

type Fold = (a: Polynomial, b: Polynomial) => Polynomial;

const FUNCTIONS: Readonly<Record<string, Fold>> = {
  mod: modulo,
  min: (a, b) => extremum('min', a, b),
  max: (a, b) => extremum('max', a, b),
  broadcast,
};

const zero = polynomial([]);

class Parser {
  readonly #tokens: string[] = [];
  #next = 0;
  #depth = 0;

  constructor(private readonly text: string) {}

  parse(): Polynomial | undefined {
    if (!this.#scan()) return undefined;
    const result = this.#sum();
    return this.#next === this.#tokens.length ? result : undefined;
  }

  /** Tokens: numbers, operators, and names with a leading backquote. */
  #scan(): boolean {
    TOKEN.lastIndex = 0;
    const end = this.text.trimEnd().length;
    while (TOKEN.lastIndex < end) {
      const match = TOKEN.exec(this.text);
      if (!match) return false;
      const [, number, quoted, plain, operator] = match;
      this.#tokens.push(number ?? operator ?? `\`${quoted ?? plain}`);
    }
    return this.#tokens.length > 0;
  }

  #accept(token: string): boolean {
    if (this.#tokens[this.#next] !== token) return false;
    this.#next++;
    return true;
  }

  #sum(): Polynomial | undefined {
    if (++this.#depth > 40) return undefined;
    const negative = this.#accept('-');
    let sum = this.#product();
    if (negative) sum = sum && minus(zero, sum);
    for (;;) {
      const fold: Fold | undefined = this.#accept('+') ? plus : this.#accept('-') ? minus : undefined;
      if (!sum || !fold) break;
      const right = this.#product();
      sum = right && fold(sum, right);
    }
    this.#depth--;
    return sum;
  }

  #product(): Polynomial | undefined {
    let product = this.#factor();
    for (;;) {
      const fold: Fold | undefined = this.#accept('*') ? times : this.#accept('//') ? floorDivide : undefined;
      if (!product || !fold) return product;
      const right = this.#factor();
      product = right && (fold === times || !isZero(right)) ? fold(product, right) : undefined;
      if (product && product.terms.length > 64) return undefined;
    }
  }

  #factor(): Polynomial | undefined {
    const token = this.#tokens[this.#next++];
    if (token === undefined) return undefined;
    if (token === '(') return this.#closed(this.#sum());
    if (/^\d/.test(token)) return polynomial([{ coefficient: Number(token), atoms: [] }]);
    if (!token.startsWith('`')) return undefined;
    const word = token.slice(1);
    return this.#accept('(') ? this.#call(word.toLowerCase()) : name(word);
  }

  #call(word: string): Polynomial | undefined {
    const first = this.#sum();
    if (!first) return undefined;
    if (word === 'floor' || word === 'ceil') {
      // Either floor(a/b) or the floor of what is an integer already.
      if (!this.#accept('/')) return this.#closed(first);
      const divisor = this.#sum();
      if (!divisor || isZero(divisor)) return undefined;
      return this.#closed(word === 'floor' ? floorDivide(first, divisor) : ceilDivide(first, divisor));
    }
    const fold = FUNCTIONS[word];
    if (!fold) return undefined;
    let result: Polynomial | undefined = first;
    while (result && this.#accept(',')) {
      const next = this.#sum();
      result = next && !(word === 'mod' && isZero(next)) ? fold(result, next) : undefined;
    }
    return result && this.#closed(result);
  }

  #closed(p: Polynomial | undefined): Polynomial | undefined {
    return this.#accept(')') ? p : undefined;
  }
}

const isZero = (p: Polynomial): boolean => constant(p) === 0 || (bounds(p)[0] === 0 && bounds(p)[1] === 0);

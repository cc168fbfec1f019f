import { type AttributeLike, type DType, float, type Node, type Value } from '@pare/core';
import { replaceValue } from '../simplify/edit.js';
import { type Pass, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';
import { clipOf } from './clip.js';
import { isAbout, Match, type Product } from './match.js';

/**
 * Activations that an exporter wrote as arithmetic become the standard operator, where the model's opset has it: HardSigmoid,
 * HardSwish (14), Mish (18), Gelu (20, erf and tanh) and Swish (24, which SiLU is).
 */
export function fuseActivations(): Pass {
  return rewritePass('fuse-activations', {
    Mul: [gelu, hardSwish, mish, swish],
    Div: [gelu, hardSwish],
    Clip: hardSigmoid,
  });
}

const FLOATS: ReadonlySet<DType | undefined> = new Set<DType | undefined>(['float16', 'float32', 'float64']);

/** Replaces `match.last` by one `opType` of x, when no one else needs what is inside. */
function become(
  match: Match,
  opType: string,
  x: Value,
  attributes: Readonly<Record<string, AttributeLike>> = {},
): string | undefined {
  const { last } = match;
  const { graph } = last;
  const { scope } = match;
  if (!graph || !match.isClosed() || !FLOATS.has(scope.dtype(x) ?? scope.dtype(last.output))) return undefined;
  // A constant of shape [1] makes a vector of a scalar.
  if (scope.rank(x) !== scope.rank(last.output)) return undefined;
  const what = `${last.label} and what it is made of`;
  const node = graph.addNode(opType, [x], { attributes, name: last.name, before: last });
  node.output.type = last.output.type;
  replaceValue(last.output, node.output);
  return `${what} became ${opType}.`;
}

/** The product that `node` is the last step of. A step further down the same product is matched there. */
function productOf(node: Node, scope: Scope): { match: Match; product: Product } | undefined {
  const match = new Match(node, scope);
  const product = match.factors(node.output);
  match.nodes.push(...product.nodes.filter((n) => n !== node));
  return product.values.length > 0 ? { match, product } : undefined;
}

/** x * (1 + erf(x / sqrt 2)) / 2, or with the tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415). */
const gelu: Rule = (node, scope) => {
  if (scope.opset < 20) return undefined;
  const found = productOf(node, scope);
  const [a, b] = found?.product.values ?? [];
  if (!found || !a || !b || found.product.values.length !== 2 || !isAbout(found.product.scalar, 0.5)) return undefined;
  for (const [x, sum] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const [kind, test] of [
      ['none', isErf],
      ['tanh', isTanh],
    ] as const) {
      const match = new Match(node, scope);
      match.nodes.push(...found.product.nodes.filter((n) => n !== node));
      const inner = match.withScalar(match.take(sum, 'Add'), 1);
      if (inner && test(match, inner, x))
        return become(match, 'Gelu', x, kind === 'tanh' ? { approximate: 'tanh' } : {});
    }
  }
  return undefined;
};

/** Whether `value` is erf(x / sqrt 2). */
function isErf(match: Match, value: Value, x: Value): boolean {
  const argument = match.take(value, 'Erf')?.inputs[0];
  if (!argument) return false;
  const product = match.factors(argument);
  match.nodes.push(...product.nodes);
  return product.values.length === 1 && product.values[0] === x && isAbout(product.scalar, Math.SQRT1_2);
}

/** Whether `value` is tanh(sqrt(2 / pi) * (x + 0.044715 x^3)), also with x taken out of the sum. */
function isTanh(match: Match, value: Value, x: Value): boolean {
  const argument = match.take(value, 'Tanh')?.inputs[0];
  if (!argument) return false;
  const outer = match.factors(argument);
  match.nodes.push(...outer.nodes);
  if (!isAbout(outer.scalar, Math.sqrt(2 / Math.PI))) return false;
  const rest = outer.values.filter((v) => v !== x);
  const taken = outer.values.length - rest.length;
  const sum = rest.length === 1 && taken <= 1 ? match.take(rest[0], 'Add') : undefined;
  if (!sum) return false;
  // x + 0.044715 x^3, or x * (1 + 0.044715 x^2).
  for (const [one, cube] of match.orders(sum)) {
    if (taken === 0 ? one !== x : !match.scope.isScalar(one, 1)) continue;
    const inner = match.factors(cube);
    const power = powerOf(match, inner, x);
    if (isAbout(inner.scalar, 0.044715) && power === 3 - taken) {
      match.nodes.push(...inner.nodes);
      return true;
    }
  }
  return false;
}

/** n when `product` is x^n (written as a product, with Pow, or both). */
function powerOf(match: Match, product: Product, x: Value): number | undefined {
  let power = 0;
  for (const value of product.values) {
    if (value === x) power++;
    else {
      const pow = match.take(value, 'Pow');
      const square = pow ?? match.take(value, 'Mul');
      const exponent = pow ? match.scope.scalar(pow.inputs[1]) : square?.inputs[1] === x ? 2 : undefined;
      if (square?.inputs[0] !== x || exponent === undefined) return undefined;
      power += exponent;
    }
  }
  return power;
}

/** x * clip(x + 3, 0, 6) / 6 (Howard et al., arXiv 1905.02244), or with HardSigmoid; before opset 14 HardSigmoid times x. */
const hardSwish: Rule = (node, scope) => {
  const found = productOf(node, scope);
  if (!found || found.product.values.length > 2) return undefined;
  const { values, scalar } = found.product;
  for (const gate of values) {
    const x = values.length === 2 ? values.find((v) => v !== gate) : undefined;
    const match = new Match(node, scope);
    match.nodes.push(...found.product.nodes.filter((n) => n !== node));
    const input =
      x && isAbout(scalar, 1)
        ? gateBySigmoid(match, gate)
        : isAbout(scalar, 1 / 6)
          ? gateByClip(match, gate)
          : undefined;
    if (!input || (x && x !== input)) continue;
    if (!x) return become(match, 'HardSigmoid', input, { alpha: float(1 / 6), beta: float(0.5) });
    if (scope.opset >= 14) return become(match, 'HardSwish', input);
    if (match.take(gate, 'HardSigmoid')) continue;
    return becomeGated(match, input);
  }
  return undefined;
};

/** x of HardSigmoid(x) with the slope of HardSwish. */
function gateBySigmoid(match: Match, gate: Value): Value | undefined {
  const node = match.take(gate, 'HardSigmoid');
  const fits = node && isAbout(node.float('alpha', 0.2), 1 / 6) && isAbout(node.float('beta', 0.5), 0.5);
  return fits ? (node.inputs[0] ?? undefined) : undefined;
}

/** x of clip(x + 3, 0, 6). */
function gateByClip(match: Match, gate: Value): Value | undefined {
  const clip = gate.producer && clipOf(gate.producer, match.scope);
  if (!clip || clip.node.graph !== match.last.graph || clip.min !== 0 || clip.max !== 6) return undefined;
  match.nodes.push(clip.node);
  return match.withScalar(match.take(clip.input, 'Add'), 3);
}

function becomeGated(match: Match, x: Value): string | undefined {
  const { last } = match;
  if (!last.graph || !match.isClosed() || !FLOATS.has(match.scope.dtype(x))) return undefined;
  const what = `${last.label} and what it is made of`;
  const gate = last.graph.addNode('HardSigmoid', [x], {
    attributes: { alpha: float(1 / 6), beta: float(0.5) },
    before: last,
  });
  const product = last.graph.addNode('Mul', [x, gate.output], { name: last.name, before: last });
  gate.output.type = x.type;
  product.output.type = last.output.type;
  replaceValue(last.output, product.output);
  return `${what} became HardSigmoid and Mul.`;
}

/** clip(a x + b, 0, 1) with numbers a and b. */
const hardSigmoid: Rule = (node, scope) => {
  const clip = clipOf(node, scope);
  if (clip?.min !== 0 || clip.max !== 1) return undefined;
  const match = new Match(node, scope);
  const add = match.take(clip.input, 'Add');
  if (!add) return undefined;
  for (const [sum, constant] of match.orders(add)) {
    const beta = scope.scalar(constant);
    if (beta === undefined) continue;
    const product = match.factors(sum);
    const [x] = product.values;
    // Without a factor it would be three nodes for two, and no clearer.
    if (!x || product.values.length !== 1 || product.nodes.length === 0) continue;
    match.nodes.push(...product.nodes);
    return become(match, 'HardSigmoid', x, { alpha: float(product.scalar), beta: float(beta) });
  }
  return undefined;
};

/** x * tanh(softplus(x)) (Misra, arXiv 1908.08681). */
const mish: Rule = (node, scope) => {
  if (scope.opset < 18) return undefined;
  const match = new Match(node, scope);
  for (const [x, gate] of match.orders(node)) {
    const softplus = match.take(match.take(gate, 'Tanh')?.inputs[0], 'Softplus');
    if (softplus?.inputs[0] === x) return become(match, 'Mish', x);
  }
  return undefined;
};

/** x * sigmoid(alpha x) (Ramachandran et al., arXiv 1710.05941). */
const swish: Rule = (node, scope) => {
  if (scope.opset < 24) return undefined;
  for (const [x, gate] of new Match(node, scope).orders(node)) {
    const match = new Match(node, scope);
    const argument = match.take(gate, 'Sigmoid')?.inputs[0];
    if (!argument) continue;
    const product = match.factors(argument);
    if (product.values.length !== 1 || product.values[0] !== x) continue;
    match.nodes.push(...product.nodes);
    return become(match, 'Swish', x, product.scalar === 1 ? {} : { alpha: float(product.scalar) });
  }
  return undefined;
};

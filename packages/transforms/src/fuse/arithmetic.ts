import { broadcastDim, type Dim, type Node, type Shape, type Value } from '@pare/core';
import { hasOneUse, madeBy, removeUnusedValue } from '../simplify/edit.js';
import { type Pass, type Rule, rewritePass } from '../simplify/rewrite.js';
import { equalShapes, type Scope } from '../simplify/scope.js';
import { type Affine, affineOf } from './affine.js';
import { derive } from './weights.js';

/** Operators that broadcast their inputs against each other. */
const BROADCASTING = [
  ...['Add', 'And', 'BitwiseAnd', 'BitwiseOr', 'BitwiseXor', 'Div', 'Equal', 'Greater', 'GreaterOrEqual', 'Less'],
  ...['LessOrEqual', 'Max', 'Mean', 'Min', 'Mod', 'Mul', 'Or', 'PRelu', 'Pow', 'Sub', 'Sum', 'Where', 'Xor'],
];

/**
 * Arithmetic with constants, twice in a row, becomes once: (x + a) + b, (x * a) * b. An Expand whose result would be broadcast
 * anyway is removed.
 */
export function mergeArithmetic(): Pass {
  const rules: Record<string, Rule[]> = Object.fromEntries(BROADCASTING.map((op) => [op, [dropExpand]]));
  for (const op of ['Add', 'Sub']) rules[op]?.push(mergeWith('Add'));
  for (const op of ['Mul', 'Div']) rules[op]?.push(mergeWith('Mul'));
  return rewritePass('merge-arithmetic', rules);
}

/** Two maps that both only shift (Add), or both only scale (Mul), where the constants of one run along those of the other. */
const mergeWith =
  (op: 'Add' | 'Mul'): Rule =>
  (node, scope) => {
    const outer = affineOf(node, scope);
    const inner = outer?.input.producer && affineOf(outer.input.producer, scope);
    if (!outer || !inner || inner.node.graph !== node.graph || !hasOneUse(inner.node.output)) return undefined;
    const isKind = (affine: Affine): boolean =>
      op === 'Add' ? affine.hasShift && !affine.hasScale : affine.hasScale && !affine.hasShift;
    if (!isKind(inner) || !isKind(outer) || !isArithmetic(inner.node) || !node.graph) return undefined;
    if (inner.axis !== undefined && outer.axis !== undefined && inner.axis !== outer.axis) return undefined;
    const wide = inner.axis === undefined ? outer : inner;
    const [shape] = wide.sources;
    const dtype = inner.sources[0]?.dtype;
    if (!shape || !dtype || dtype !== outer.sources[0]?.dtype) return undefined;
    const part = op === 'Add' ? 1 : 0;
    const combined = derive(dtype, shape.dims, [...inner.sources, ...outer.sources], (out, a, b) => {
      for (let c = 0; c < out.length; c++) {
        const x = inner.at([a as Float32Array], c)[part];
        const y = outer.at([b as Float32Array], c)[part];
        out[c] = op === 'Add' ? x + y : x * y;
      }
    });
    const what = `${inner.node.label} and ${node.label}`;
    const unused = [...node.inputs];
    const constant = node.graph.addInitializer(`${node.output.name}_constant`, combined);
    node.opType = op;
    node.setInputs([inner.input, constant]);
    for (const value of unused) if (value) removeUnusedValue(value);
    return `${what} became one ${op}.`;
  };

const isArithmetic = (node: Node): boolean => node.opType !== 'BatchNormalization';

const dropExpand: Rule = (node, scope) => {
  if (scope.opset < 8) return undefined;
  for (const [i, input] of node.inputs.entries()) {
    // The slope of PRelu broadcasts to x, not x to the slope.
    if (i === 0 && node.opType === 'PRelu') continue;
    const expand = madeBy(input, 'Expand', node);
    const source = expand?.inputs[0];
    if (!expand || !source || !input) continue;
    const others = node.inputs.filter((v, j): v is Value => v !== null && j !== i);
    if (!equalShapes(broadcastShape([source, ...others], scope), scope.shape(node.output))) continue;
    node.setInput(i, source);
    removeUnusedValue(input);
    return `${expand.label} was removed: ${node.label} broadcasts anyway.`;
  }
  return undefined;
};

function broadcastShape(values: readonly Value[], scope: Scope): Shape | undefined {
  const shapes = values.map((v) => scope.shape(v));
  if (shapes.some((s) => !s)) return undefined;
  const rank = Math.max(...shapes.map((s) => s?.length ?? 0));
  return Array.from({ length: rank }, (_, i) =>
    shapes.reduce((dim: Dim, shape) => {
      const at = i - rank + (shape?.length ?? 0);
      return at < 0 ? dim : broadcastDim(dim, shape?.[at] ?? null);
    }, 1),
  );
}

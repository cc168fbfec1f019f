import {
  byteLength,
  type Engine,
  Graph,
  GraphRoot,
  type HostTensor,
  Model,
  type Node,
  type Session,
  Tensor,
  type TypedArray,
  tensorType,
  throwIfAborted,
  type Value,
} from '@pare/core';
import { type Budget, budgetOf, DEFAULT_MAX_FOLD_BYTES } from './budget.js';
import { makeConstant } from './edit.js';
import { isDeterministic, QUANTIZATION } from './operators.js';
import { type Pass, type Report, wholePass } from './rewrite.js';
import type { Scope } from './scope.js';

/** Larger constants are not carried to the engine: what is small in the end is not computed from such. */
const MAX_INPUT_BYTES = 64 << 20;

/** How much larger than what goes in, in multiples of the limit, a value on the way may be. */
const STEP = 4;

/**
 * Computes what depends on constants only, in one session of the engine. Left alone are random operators, control flow,
 * dequantization (it would give back the bytes that quantization saved), and whatever would make the model larger by more
 * than `maxFoldBytes` (a tensor; in all, that or an eighth of the model's constants). Without an engine nothing is folded.
 */
export function foldConstants(options: { readonly maxFoldBytes?: number | undefined } = {}): Pass {
  const limit = options.maxFoldBytes ?? DEFAULT_MAX_FOLD_BYTES;
  return wholePass('fold-constants', async (scope, report, context) => {
    const foldable = findFoldable(scope, limit);
    const values = [...foldable.keys()].filter(
      (value) => isFrontier(value, foldable) && RETURNED_TYPES.has(scope.dtype(value) ?? ''),
    );
    if (values.length === 0) return;
    if (!context.engine) {
      report.refused(`${values.length} constant expressions were not computed: that needs an engine.`);
      return;
    }
    const budget = budgetOf(scope.model, limit);
    // The small ones first: they are most of what other passes wait for.
    const groups = groupsOf(values, foldable).sort((a, b) => growthOf(a) - growthOf(b));
    const chosen = groups.flatMap((group) => choose(group, limit, budget, report));
    if (chosen.length === 0) return;
    const folding = { scope, foldable, engine: context.engine, report, signal: context.signal };
    for (const [value, tensor] of await compute(chosen, folding)) {
      const node = value.producer as Node;
      const size = foldable.get(value)?.size;
      if (size === undefined && !budget.take(tensor.byteLength, limit)) {
        report.refused(tooLarge(node, tensor.byteLength));
        continue;
      }
      report.did(`${node.label} depends on constants only and was computed.`);
      makeConstant(value, tensor);
    }
  });
}

const tooLarge = (node: Node, growth: number): string =>
  `${node.label} was not computed in advance: its result would make the model ${growth} bytes larger.`;

interface Foldable {
  readonly node: Node;
  /** Bytes of the value, when they are known. */
  readonly size: number | undefined;
}

/** Values that depend on constants only, in order of computation; not those much larger than what they are made of. */
function findFoldable(scope: Scope, limit: number): Map<Value, Foldable> {
  const found = new Map<Value, Foldable>();
  const visit = (graph: Graph): void => {
    for (const node of graph.nodes()) {
      for (const sub of node.subgraphs()) visit(sub);
      if (!isFoldable(node, found)) continue;
      const outputs = node.outputs.filter((v): v is Value => v !== null);
      if (!outputs.every((v) => (scope.dtype(v) ?? 'string') !== 'string')) continue;
      const sizes = outputs.map((v) => sizeOf(v, scope));
      const read = node.inputs.reduce(
        (sum, v) => sum + (v?.constant?.byteLength ?? 0) + (v ? (found.get(v)?.size ?? 0) : 0),
        0,
      );
      // A step in between may be a little larger than what goes in: it is not kept.
      if (sizes.some((size) => (size ?? 0) > read + STEP * limit)) continue;
      for (const [i, output] of outputs.entries()) found.set(output, { node, size: sizes[i] });
    }
  };
  visit(scope.model.graph);
  return found;
}

/** Values that share what they are made of: folding all of them frees it. */
interface Group {
  readonly values: Value[];
  readonly foldable: ReadonlyMap<Value, Foldable>;
  /** Bytes of constants that nobody needs any more when all are folded. */
  freed: number;
}

/** Constants up to this size do not tie groups together: every Gather has an index. */
const TIE_BYTES = 1024;

function groupsOf(values: readonly Value[], foldable: ReadonlyMap<Value, Foldable>): Group[] {
  // Disjoint sets: each value points to another of its group, the last one to itself.
  const links = new Map<Value, Value>();
  const rootOf = (value: Value): Value => {
    let root = value;
    for (let next = links.get(root); next && next !== root; next = links.get(root)) root = next;
    for (let at = value; at !== root; ) {
      const next = links.get(at) ?? root;
      links.set(at, root);
      at = next;
    }
    return root;
  };
  const constants = new Set<Value>();
  for (const [value, { node }] of foldable) {
    for (const input of node.inputs) {
      const size = input?.constant?.byteLength;
      if (!input || (size !== undefined && size <= TIE_BYTES)) continue;
      if (size !== undefined) constants.add(input);
      links.set(rootOf(input), rootOf(value));
    }
  }
  const groups = new Map<Value, Group>();
  for (const value of values) {
    const root = rootOf(value);
    const group = groups.get(root) ?? { values: [], foldable, freed: 0 };
    groups.set(root, group);
    group.values.push(value);
  }
  for (const constant of constants) {
    const group = groups.get(rootOf(constant));
    if (group && isFreed(constant, foldable)) group.freed += constant.constant?.byteLength ?? 0;
  }
  return [...groups.values()];
}

/** Whether only folded nodes read `constant`. */
function isFreed(constant: Value, foldable: ReadonlyMap<Value, Foldable>): boolean {
  if (constant.isGraphOutput || constant.isGraphInput) return false;
  return [...constant.uses].every(({ node }) => node.outputs.some((output) => output && foldable.has(output)));
}

/** Bytes that the model grows by when all of `group` is computed; those of unknown size not counted. */
function growthOf({ values, foldable, freed }: Group): number {
  return values.reduce((sum, value) => sum + (foldable.get(value)?.size ?? 0), -freed);
}

/** The values of `group` to compute: all, or those that are small enough by themselves. */
function choose(group: Group, limit: number, budget: Budget, report: Report): Value[] {
  if (budget.take(growthOf(group), limit)) return group.values;
  const sizeOfValue = (value: Value): number => group.foldable.get(value)?.size ?? 0;
  return [...group.values]
    .sort((a, b) => sizeOfValue(a) - sizeOfValue(b))
    .filter((value) => {
      if (budget.take(sizeOfValue(value), limit)) return true;
      report.refused(tooLarge(value.producer as Node, sizeOfValue(value)));
      return false;
    });
}

/** Types that an engine can give back; others may come in between. */
const RETURNED_TYPES: ReadonlySet<string> = new Set([
  'bool',
  'float16',
  'float32',
  'float64',
  'int16',
  'int32',
  'int64',
  'int8',
  'uint16',
  'uint32',
  'uint64',
  'uint8',
]);

function isFoldable(node: Node, found: ReadonlyMap<Value, Foldable>): boolean {
  if (!isDeterministic(node) || QUANTIZATION.has(node.opType) || node.is('Constant')) return false;
  const inputs = node.inputs.filter((v): v is Value => v !== null);
  const isReady = (v: Value): boolean => {
    if (!v.constant) return found.has(v);
    return v.constant.dtype !== 'string' && v.constant.byteLength <= MAX_INPUT_BYTES;
  };
  return inputs.length > 0 && inputs.every(isReady);
}

function sizeOf(value: Value, scope: Scope): number | undefined {
  const dims = scope.dims(value);
  const dtype = scope.dtype(value);
  return (
    dims &&
    dtype &&
    byteLength(
      dtype,
      dims.reduce((a, b) => a * b, 1),
    )
  );
}

/** Whether something that is not folded itself needs `value`. */
function isFrontier(value: Value, foldable: ReadonlyMap<Value, Foldable>): boolean {
  if (value.isGraphOutput) return true;
  for (const { node } of value.uses) if (!node.outputs.some((output) => output && foldable.has(output))) return true;
  return false;
}

interface Folding {
  readonly scope: Scope;
  readonly foldable: ReadonlyMap<Value, Foldable>;
  readonly engine: Engine;
  readonly report: Report;
  readonly signal: AbortSignal | undefined;
}

/** Runs all of `values` in one session; when the engine refuses, halves of them, so that one bad node spoils only itself. */
async function compute(values: readonly Value[], folding: Folding): Promise<[Value, Tensor][]> {
  const { scope, foldable, engine, report, signal } = folding;
  let session: Session | undefined;
  try {
    session = await engine.open(extract(values, foldable, scope), {
      optimization: 'disabled',
      ...(signal ? { signal } : {}),
    });
    const results = await session.run({});
    return values.map((value, i) => [value, tensorOf(results[outputName(i)] as HostTensor)]);
  } catch (error) {
    throwIfAborted(signal);
    if (values.length === 1) {
      report.refused(`${values[0]?.producer?.label} was not computed in advance: ${(error as Error).message}`);
      return [];
    }
    const middle = values.length >> 1;
    return [...(await compute(values.slice(0, middle), folding)), ...(await compute(values.slice(middle), folding))];
  } finally {
    await session?.close();
  }
}

const outputName = (index: number): string => `folded_${index}`;

/** A model that computes `values` from constants alone, as outputs by `outputName`. */
function extract(values: readonly Value[], foldable: ReadonlyMap<Value, Foldable>, scope: Scope): Model {
  const needed = neededFor(values, foldable);
  const graph = new Graph('fold', new GraphRoot(Math.max(8, scope.model.irVersion)));
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const copy = copies.get(value) ?? graph.addInitializer('constant', value.constant as Tensor);
    copies.set(value, copy);
    return copy;
  };
  let count = 0;
  // In the order of computation.
  for (const node of new Set([...foldable.values()].map((f) => f.node))) {
    if (!needed.has(node)) continue;
    const copy = graph.addNode(
      node.opType,
      node.inputs.map((v) => v && copyOf(v)),
      {
        domain: node.domain,
        attributes: Object.fromEntries(node.attributes),
        outputs: node.outputs.map(() => `computed_${count++}`),
      },
    );
    for (const [i, output] of node.outputs.entries()) if (output) copies.set(output, copy.outputs[i] as Value);
  }
  for (const [i, value] of values.entries()) {
    const copy = copyOf(value);
    graph.rename(copy, outputName(i));
    copy.type = tensorType(scope.dtype(value));
    graph.addOutput(copy);
  }
  return new Model(graph, new Map(scope.model.opsets));
}

function neededFor(values: readonly Value[], foldable: ReadonlyMap<Value, Foldable>): Set<Node> {
  const needed = new Set<Node>();
  const pending = [...values];
  for (let value = pending.pop(); value; value = pending.pop()) {
    const node = foldable.get(value)?.node;
    if (!node || needed.has(node)) continue;
    needed.add(node);
    for (const input of node.inputs) if (input) pending.push(input);
  }
  return needed;
}

function tensorOf({ dtype, dims, data }: HostTensor): Tensor {
  return Tensor.of(dtype, dims, data as TypedArray);
}

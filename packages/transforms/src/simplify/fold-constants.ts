import {
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
import { type Foldables, findFoldable, frontierOf, type Group, groupsOf, nodesFor } from './foldable.js';
import { rearrange } from './rearrange.js';
import { type Pass, type Report, wholePass } from './rewrite.js';
import type { Scope } from './scope.js';

/** Larger constants are not carried to the engine. */
const MAX_INPUT_BYTES = 64 << 20;

/**
 * Computes what depends on constants only. What merely moves their elements (Transpose, Reshape, Slice, Concat, ...) is done
 * here, large results when the model is written; the rest in one session of the engine, or left when there is none. Left alone
 * are random operators, control flow, dequantization (it would give back the bytes that quantization saved), and whatever
 * would make the model larger by more than `maxFoldBytes` (a tensor; in all, that or an eighth of the model's constants).
 */
export function foldConstants(options: { readonly maxFoldBytes?: number | undefined } = {}): Pass {
  const limit = options.maxFoldBytes ?? DEFAULT_MAX_FOLD_BYTES;
  return wholePass('fold-constants', async (scope, report, { engine, signal }) => {
    const all = findFoldable(scope, limit);
    const moved = new Rearrangement(all, scope);
    const foldable = engine ? all : new Map([...all].filter(([value]) => moved.tensorOf(value)));
    const values = frontierOf(foldable).filter((value) => {
      if (moved.tensorOf(value)) return true;
      return RETURNED_TYPES.has(scope.dtype(value) ?? '') && fitsEngine(value, foldable);
    });
    const budget = budgetOf(scope.model, limit);
    const chosen = groupsOf(values, foldable).flatMap((group) => choose(group, foldable, limit, budget, report));
    const [here, there] = [chosen.filter((v) => moved.tensorOf(v)), chosen.filter((v) => !moved.tensorOf(v))];
    const results = here.map((value): [Value, Tensor] => [value, moved.tensorOf(value) as Tensor]);
    if (engine && there.length > 0) {
      results.push(...(await compute(there, { scope, foldable, engine, report, signal })));
    }
    for (const [value, tensor] of results) {
      const node = value.producer as Node;
      const isCounted = foldable.get(value)?.size !== undefined;
      if (!isCounted && !budget.take(tensor.byteLength, limit)) report.refused(tooLarge(node, tensor.byteLength));
      else {
        report.did(`${node.label} depends on constants only and was computed.`);
        makeConstant(value, tensor);
      }
    }
    const left = engine ? 0 : frontierOf(all).filter((value) => !moved.tensorOf(value)).length;
    if (left > 0) report.refused(`${left} constant expressions were not computed: that needs an engine.`);
  });
}

const tooLarge = (node: Node, growth: number): string =>
  `${node.label} was not computed in advance: its result would make the model ${growth} bytes larger.`;

/** Types that an engine can give back; others may come in between. */
const RETURNED_TYPES: ReadonlySet<string> = new Set([
  ...['bool', 'float16', 'float32', 'float64', 'int16', 'int32', 'int64', 'int8', 'uint16', 'uint32', 'uint64'],
  'uint8',
]);

function fitsEngine(value: Value, foldable: Foldables): boolean {
  return nodesFor([value], foldable).every((node) =>
    node.inputs.every((input) => (input?.constant?.byteLength ?? 0) <= MAX_INPUT_BYTES),
  );
}

/** What can be computed by moving elements, each value once. */
class Rearrangement {
  readonly #tensors = new Map<Value, Tensor | undefined>();

  constructor(foldable: Foldables, scope: Scope) {
    // In the order of computation, so that inputs come first.
    for (const { node } of foldable.values()) {
      if (node.outputs.some((output) => output && this.#tensors.has(output))) continue;
      const results = rearrange(node, (value) => this.tensorOf(value), scope);
      for (const [i, output] of node.outputs.entries()) if (output) this.#tensors.set(output, results?.[i]);
    }
  }

  tensorOf(value: Value): Tensor | undefined {
    return value.constant ?? this.#tensors.get(value);
  }
}

/** The values of `group` to compute: all, or those that are small enough by themselves. */
function choose(group: Group, foldable: Foldables, limit: number, budget: Budget, report: Report): Value[] {
  if (budget.take(group.growth, limit)) return group.values;
  const sizeOf = (value: Value): number => foldable.get(value)?.size ?? 0;
  return [...group.values]
    .sort((a, b) => sizeOf(a) - sizeOf(b))
    .filter((value) => {
      if (budget.take(sizeOf(value), limit)) return true;
      report.refused(tooLarge(value.producer as Node, sizeOf(value)));
      return false;
    });
}

interface Folding {
  readonly scope: Scope;
  readonly foldable: Foldables;
  readonly engine: Engine;
  readonly report: Report;
  readonly signal: AbortSignal | undefined;
}

/** Runs all of `values` in one session; when the engine refuses, halves of them, so that one bad node spoils only itself. */
async function compute(values: readonly Value[], folding: Folding): Promise<[Value, Tensor][]> {
  const { engine, report, signal } = folding;
  let session: Session | undefined;
  try {
    session = await engine.open(extract(values, folding), {
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
function extract(values: readonly Value[], { scope, foldable }: Folding): Model {
  const graph = new Graph('fold', new GraphRoot(Math.max(8, scope.model.irVersion)));
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const copy = copies.get(value) ?? graph.addInitializer('constant', value.constant as Tensor);
    copies.set(value, copy);
    return copy;
  };
  let count = 0;
  for (const node of nodesFor(values, foldable)) {
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

function tensorOf({ dtype, dims, data }: HostTensor): Tensor {
  return Tensor.of(dtype, dims, data as TypedArray);
}

import { inlineGraph, isFloat, type Model, PareError, type Value } from '@pare/core';
import { upgradeOpset } from '@pare/transforms';
import { GRADIENT_OPSET } from '../autodiff/gradient.js';
import type { Loss, LossScope } from './loss.js';

/**
 * Any ONNX graph as a loss. Its one output is the loss, a float scalar. Each of its inputs is what bears its name in the model
 * that is trained: `output` is the default output, `label` (or `labels`) the truth of the batch (class numbers for int64, else
 * floats), and any other name an output or an inner value; a name that the model does not have is fed with each batch, in the
 * shape that the input declares. Names of dimensions stand for the same length in all inputs.
 * @throws PareError `bad-option` for another number of outputs, or local functions; when built, for inputs of another type or
 *   rank, and for named lengths that nothing tells; `unsupported` for an opset that cannot be upgraded.
 */
export async function graphLoss(model: Model, name = model.graph.name): Promise<Loss> {
  const own = model.clone();
  if (own.graph.outputs.length !== 1) {
    throw new PareError('bad-option', `Loss "${name}" has ${own.graph.outputs.length} outputs; a loss has one.`);
  }
  if (own.functions.length > 0) {
    throw new PareError('bad-option', `Loss "${name}" has local functions: inline them first, with simplify().`);
  }
  await own.transform(upgradeOpset({ to: GRADIENT_OPSET }));
  return { name, build: (scope) => inline(own, name, scope) };
}

function inline({ graph: body }: Model, name: string, scope: LossScope): Value {
  const { graph, inference } = scope.emit;
  const lengths = new Map<string, number>();
  const inputs = body.inputs.filter((input) => !input.initializer);
  const present = (input: Value): boolean => SPECIAL.has(input.name) || graph.value(input.name) !== undefined;
  const actuals = new Map<Value, Value>();
  // Those that the model has come first: they tell the lengths of those that are fed.
  for (const input of [...inputs.filter(present), ...inputs.filter((i) => !present(i))]) {
    const actual = present(input) ? existing(input, scope) : fed(input, name, scope, lengths);
    bind(input, actual, name, scope, lengths);
    actuals.set(input, actual);
  }
  const before = new Set(graph.nodes());
  const anchor = graph.addNode('Identity', [[...actuals.values()][0] ?? scope.output()]);
  const [loss] = inlineGraph(body, anchor, actuals) as [Value];
  graph.remove(anchor);
  for (const node of graph.nodes()) if (!before.has(node)) inference.extend(node);
  const dims = scope.emit.shape(loss);
  if (scope.emit.size(loss) !== 1 || !isFloat(scope.emit.dtype(loss))) {
    throw new PareError(
      'bad-option',
      `Loss "${name}" is ${scope.emit.dtype(loss)}[${dims.join(', ')}] and must be one float number.`,
    );
  }
  return scope.emit.reshape(loss, []);
}

const SPECIAL: ReadonlySet<string> = new Set(['output', 'label', 'labels']);

function existing(input: Value, scope: LossScope): Value {
  const { graph } = scope.emit;
  if (graph.outputs.some((output) => output.name === input.name)) return scope.output(input.name);
  if (input.name === 'output') return scope.output();
  if (SPECIAL.has(input.name)) return scope.label(input.dtype === 'int64' ? 'class' : 'tensor');
  return scope.value(input.name);
}

function fed(input: Value, loss: string, scope: LossScope, lengths: ReadonlyMap<string, number>): Value {
  const dims = input.shape?.map((d) => (typeof d === 'string' ? lengths.get(d) : d));
  if (!input.dtype || !dims?.every((d) => typeof d === 'number')) {
    throw new PareError(
      'bad-option',
      `The model has no value "${input.name}" for loss "${loss}", and its shape [${input.shape?.join(', ') ?? '?'}] does not ` +
        'say how long each axis of the tensor to feed is. Name the input after a value of the model, or give it a shape.',
    );
  }
  return scope.target(input.name, input.dtype, dims as number[]);
}

/** Checks that `actual` is what `input` declares, and remembers the lengths of its named dimensions. */
function bind(input: Value, actual: Value, loss: string, { emit }: LossScope, lengths: Map<string, number>): void {
  const dims = emit.shape(actual);
  const declared = input.shape;
  const fits =
    (input.dtype === undefined || input.dtype === emit.dtype(actual)) &&
    (!declared ||
      (declared.length === dims.length &&
        declared.every((d, i) => (typeof d === 'string' ? (lengths.get(d) ?? dims[i]) : (d ?? dims[i])) === dims[i])));
  if (!fits) {
    throw new PareError(
      'bad-option',
      `Input "${input.name}" of loss "${loss}" is ${input.dtype}[${declared?.join(', ') ?? ''}], but the model has ` +
        `${emit.dtype(actual)}[${dims.join(', ')}] under that name.`,
    );
  }
  for (const [i, d] of declared?.entries() ?? []) if (typeof d === 'string') lengths.set(d, dims[i] as number);
}

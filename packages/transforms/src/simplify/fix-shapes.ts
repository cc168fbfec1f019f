import {
  type Dim,
  type Graph,
  type Model,
  PareError,
  type Shape,
  tensorType,
  typeText,
  type Value,
  type ValueType,
} from '@pare/core';
import { type Pass, type Report, wholePass } from './rewrite.js';

/** Input shapes to fix. */
export interface FixedShapes {
  /** A shape for each input by name, for example `{ pixels: [1, 3, 224, 224] }`; null leaves a dimension as it is. */
  readonly fixShapes?: Readonly<Record<string, readonly (number | null)[]>> | undefined;
  /** Lengths for named dimensions, for example `{ batch: 1 }`. */
  readonly fixDims?: Readonly<Record<string, number>> | undefined;
}

/**
 * Gives inputs a fixed shape. What named dimensions become known by it is used everywhere in the model; the types of
 * intermediate values that named something else are forgotten and inferred anew.
 * @throws PareError `bad-option` for an input or dimension that the model does not have, a wrong rank, a length that the model
 *   contradicts, or one that is no positive integer.
 */
export function fixShapes(options: FixedShapes): Pass {
  return wholePass('fix-shapes', ({ model }, report) => {
    const names = new Map<string, number>();
    for (const [name, length] of Object.entries(options.fixDims ?? {}))
      bind(names, name, length, `dimension "${name}"`);
    checkNames(model, names);
    const shapes = new Map(Object.entries(options.fixShapes ?? {}));
    for (const [name, dims] of shapes) bindShape(inputNamed(model, name), dims, names);
    if (names.size === 0 && shapes.size === 0) return;
    for (const input of model.graph.inputs) {
      const before = typeText(input.type);
      input.type = fixType(input.type, names, shapes.get(input.name));
      if (typeText(input.type) !== before)
        report.did(`Input "${input.name}" is now ${typeText(input.type)}, not ${before}.`);
    }
    if (report.changed > 0) for (const graph of model.graph.graphs()) fixInside(graph, names, report);
  });
}

function bind(names: Map<string, number>, name: string, length: number, what: string): void {
  if (!Number.isInteger(length) || length <= 0) {
    throw new PareError('bad-option', `The length ${length} for ${what} is not a positive integer.`);
  }
  const present = names.get(name);
  if (present !== undefined && present !== length) {
    throw new PareError('bad-option', `Dimension "${name}" cannot be both ${present} and ${length}.`);
  }
  names.set(name, length);
}

function inputNamed(model: Model, name: string): Value {
  const input = model.graph.inputs.find((value) => value.name === name);
  if (input) return input;
  const all = model.graph.inputs.map((value) => `"${value.name}"`).join(', ');
  throw new PareError('bad-option', `The model has no input "${name}"; its inputs are ${all}.`);
}

function checkNames(model: Model, names: ReadonlyMap<string, number>): void {
  const known = new Set(model.graph.inputs.flatMap((input) => input.shape?.filter((d) => typeof d === 'string') ?? []));
  for (const name of names.keys()) {
    if (known.has(name)) continue;
    const all = [...known].map((n) => `"${n}"`).join(', ') || 'none';
    throw new PareError('bad-option', `No input has a dimension named "${name}"; the named ones are: ${all}.`);
  }
}

function bindShape(input: Value, dims: readonly (number | null)[], names: Map<string, number>): void {
  const { shape } = input;
  if (shape && shape.length !== dims.length) {
    throw new PareError(
      'bad-option',
      `Input "${input.name}" is ${typeText(input.type)}; a shape of ${dims.length} dimensions does not fit.`,
    );
  }
  for (const [i, length] of dims.entries()) {
    if (length === null) continue;
    const declared = shape?.[i] ?? null;
    if (typeof declared === 'string') bind(names, declared, length, `dimension ${i} of input "${input.name}"`);
    else bind(new Map(), '', length, `dimension ${i} of input "${input.name}"`);
    if (typeof declared === 'number' && declared !== length) {
      throw new PareError(
        'bad-option',
        `Dimension ${i} of input "${input.name}" is ${declared} and cannot be ${length}.`,
      );
    }
  }
}

function fixType(
  type: ValueType | undefined,
  names: ReadonlyMap<string, number>,
  dims?: readonly (number | null)[],
): ValueType | undefined {
  if (type?.kind !== 'tensor') return type;
  const before: Shape | undefined = type.shape ?? dims?.map(() => null);
  const after = before?.map((dim, i): Dim => dims?.[i] ?? (typeof dim === 'string' ? (names.get(dim) ?? dim) : dim));
  if (!after || after.every((d, i) => d === type.shape?.[i])) return type;
  return tensorType(type.dtype, after);
}

/** Types inside the graph: names that were fixed are replaced; types that may hold others made from them are forgotten. */
function fixInside(graph: Graph, names: ReadonlyMap<string, number>, report: Report): void {
  const outputs = new Set(graph.outputs);
  for (const value of graph.values) {
    if (value.isGraphInput || value.initializer) continue;
    if (!graph.parent && outputs.has(value)) {
      const before = typeText(value.type);
      value.type = fixType(value.type, names);
      if (typeText(value.type) !== before) report.did(`Output "${value.name}" is now ${typeText(value.type)}.`);
    } else if (value.type?.kind === 'tensor' && value.type.shape?.some((d) => typeof d !== 'number')) {
      value.type = value.type.dtype ? tensorType(value.type.dtype) : undefined;
    }
  }
}

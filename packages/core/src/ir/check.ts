import type { Graph } from './graph.js';
import type { Model } from './model.js';
import type { Node } from './node.js';
import { elementCount } from './tensor.js';
import { staticShape } from './type.js';
import type { Value } from './value.js';

/** One thing wrong with a model; `message` names the node or value. */
export interface Problem {
  readonly message: string;
  readonly node?: Node;
  readonly value?: Value;
}

/**
 * Looks for what makes a model invalid: values that nothing computes, reads before the definition, names that hide an outer
 * one, domains that are not imported, duplicate node outputs, initializers that do not fit their declared type. Returns all
 * problems; an empty list means that the structure is sound.
 */
export function check(model: Model): Problem[] {
  const problems: Problem[] = [];
  checkGraph(model.graph, new Map(), model, problems);
  if (model.graph.outputs.length === 0) problems.push({ message: `Graph "${model.graph.name}" has no outputs.` });
  return problems;
}

function checkGraph(graph: Graph, outer: ReadonlyMap<string, Value>, model: Model, problems: Problem[]): void {
  const visible = new Map(outer);
  const define = (value: Value): void => {
    if (outer.has(value.name)) {
      problems.push({
        message: `Value "${value.name}" hides an outer one of the same name.`,
        value,
      });
    }
    visible.set(value.name, value);
  };
  for (const value of new Set([...graph.inputs, ...graph.initializers])) {
    define(value);
    checkInitializer(value, problems);
  }
  for (const node of graph.nodes()) {
    if (!model.opsets.has(node.domain) && !isFunction(model, node)) {
      problems.push({
        message: `${node.label} is of domain "${node.domain || 'ai.onnx'}", which the model does not import.`,
        node,
      });
    }
    for (const [i, input] of node.inputs.entries()) {
      if (input && visible.get(input.name) !== input) {
        const how = input.producer ? 'before it is computed' : 'but nothing computes it';
        problems.push({
          message: `${node.label} reads "${input.name}" (input ${i}) ${how}.`,
          node,
          value: input,
        });
      }
    }
    for (const sub of node.subgraphs()) checkGraph(sub, visible, model, problems);
    for (const output of node.outputs) if (output) define(output);
  }
  for (const output of graph.outputs) {
    if (visible.get(output.name) !== output) {
      problems.push({
        message: `Output "${output.name}" of graph "${graph.name}" is never computed.`,
        value: output,
      });
    }
  }
}

function isFunction(model: Model, node: Node): boolean {
  return model.functions.some((f) => f.domain === node.domain && f.name === node.opType);
}

function checkInitializer(value: Value, problems: Problem[]): void {
  const tensor = value.initializer;
  if (!tensor) return;
  if (tensor.data.kind === 'bytes' && tensor.data.bytes.byteLength !== tensor.byteLength) {
    problems.push({
      message: `Initializer "${value.name}" holds ${tensor.data.bytes.byteLength} bytes; ${tensor.dtype}[${tensor.dims.join(', ')}] needs ${tensor.byteLength}.`,
      value,
    });
  }
  const type = value.type;
  if (type?.kind !== 'tensor') return;
  const declared = staticShape(type.shape);
  const wrongShape =
    declared && (declared.length !== tensor.dims.length || elementCount(declared) !== elementCount(tensor.dims));
  if ((type.dtype && type.dtype !== tensor.dtype) || wrongShape) {
    problems.push({
      message: `Initializer "${value.name}" is ${tensor.dtype}[${tensor.dims.join(', ')}] but declared as ${type.dtype}[${type.shape?.join(', ')}].`,
      value,
    });
  }
}

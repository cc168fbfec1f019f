import type { Graph, Model, Node } from '@pare/core';
import { removeUnusedInitializer } from './edit.js';
import { type Pass, type Report, wholePass } from './rewrite.js';

/**
 * Removes what no output depends on: nodes (in subgraphs too), optional outputs, outputs of If that nobody reads,
 * initializers, descriptions of values that are gone, functions and operator set imports. Inputs stay.
 */
export function eliminateDeadCode(): Pass {
  return wholePass('eliminate-dead-code', ({ model }, report) => {
    cleanGraph(model.graph, report);
    dropFunctions(model, report);
    dropImports(model, report);
  });
}

function cleanGraph(graph: Graph, report: Report): void {
  // From the last node to the first, so that what a removed node read is seen as unused when its turn comes.
  for (const node of graph.nodesReversed()) {
    const { label } = node;
    if (node.outputs.every((output) => !output || output.isUnused)) {
      graph.remove(node);
      report.did(`${label} was removed: nothing reads its output.`);
      continue;
    }
    if (node.is('If')) dropBranchOutputs(node, report);
    dropOptionalOutputs(node, report);
    for (const sub of node.subgraphs()) cleanGraph(sub, report);
  }
  for (const value of [...graph.initializers]) {
    const { name } = value;
    if (removeUnusedInitializer(value)) report.did(`Initializer "${name}" was removed: nothing reads it.`);
  }
  for (const value of [...graph.values]) {
    if (value.isUnused && !value.producer && !value.isGraphInput) graph.removeValue(value);
  }
}

/** First output that may be left out, by operator. */
const OPTIONAL_FROM: Readonly<Record<string, number>> = {
  BatchNormalization: 1,
  Dropout: 1,
  GRU: 0,
  LSTM: 0,
  LayerNormalization: 1,
  MaxPool: 1,
  RNN: 0,
  SoftmaxCrossEntropyLoss: 1,
  Unique: 1,
};

function dropOptionalOutputs(node: Node, report: Report): void {
  const from = node.domain === '' ? OPTIONAL_FROM[node.opType] : undefined;
  if (from === undefined || node.int('training_mode', 0) === 1) return;
  for (let i = node.outputs.length - 1; i >= from; i--) {
    const output = node.outputs[i];
    if (!output?.isUnused) continue;
    node.setOutput(i, null);
    output.graph.removeValue(output);
    report.did(`${node.label} no longer computes its output ${i}, which nothing reads.`);
  }
}

function dropBranchOutputs(node: Node, report: Report): void {
  const branches = node.subgraphs();
  for (let i = node.outputs.length - 1; i >= 0; i--) {
    const output = node.outputs[i];
    if (output && !output.isUnused) continue;
    const kept = node.outputs.filter((_, j) => j !== i);
    for (let j = node.outputs.length - 1; j >= 0; j--) node.setOutput(j, null);
    for (const [j, value] of kept.entries()) node.setOutput(j, value);
    for (const branch of branches) branch.removeOutput(i);
    if (output) output.graph.removeValue(output);
    report.did(`${node.label} no longer computes its output ${i}, which nothing reads.`);
  }
}

function dropFunctions(model: Model, report: Report): void {
  const key = (domain: string, name: string, overload: string): string => `${domain}:${name}:${overload}`;
  const called = new Set<string>();
  const visit = (graph: Graph): void => {
    for (const node of graph.allNodes()) {
      const name = key(node.domain, node.opType, node.overload);
      const callee = model.functions.find((f) => key(f.domain, f.name, f.overload) === name);
      if (!callee || called.has(name)) continue;
      called.add(name);
      visit(callee.body);
    }
  };
  visit(model.graph);
  const kept = model.functions.filter((f) => called.has(key(f.domain, f.name, f.overload)));
  for (const f of model.functions) {
    if (!kept.includes(f)) report.did(`Function "${f.domain}.${f.name}" was removed: nothing calls it.`);
  }
  model.functions = kept;
}

function dropImports(model: Model, report: Report): void {
  const used = new Set(['']);
  for (const graph of [model.graph, ...model.functions.map((f) => f.body)]) {
    for (const node of graph.allNodes()) used.add(node.domain);
  }
  for (const f of model.functions) used.add(f.domain);
  for (const [domain, version] of [...model.opsets]) {
    if (used.has(domain)) continue;
    model.opsets.delete(domain);
    report.did(`The import of operator set "${domain}" ${version} was removed: no node is of it.`);
  }
}

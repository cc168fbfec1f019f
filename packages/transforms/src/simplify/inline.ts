import { inlineGraph, type Model, type ModelFunction, type Node, type Value } from '@pare/core';
import { canReplace, replaceValue } from './edit.js';
import { type Pass, rewritePass, wholePass } from './rewrite.js';

/** An If whose condition is constant is replaced by the contents of the branch that it takes. */
export function inlineConstantIf(): Pass {
  return rewritePass('inline-constant-if', {
    If(node, scope) {
      const [condition] = node.inputs;
      const taken = scope.scalar(condition) ?? scope.integers(condition)?.[0];
      if (taken === undefined) return undefined;
      const name = taken ? 'then_branch' : 'else_branch';
      const branch = node.attribute(name, 'graph');
      if (!branch) return undefined;
      const { label } = node;
      substitute(node, inlineGraph(branch, node, new Map()));
      return `${label} always takes its ${name} and was replaced by it.`;
    },
  });
}

/** Calls of the model's functions are replaced by the functions' bodies, to the innermost. */
export function inlineFunctions(): Pass {
  return wholePass('inline-functions', ({ model }, report) => {
    // A function that calls itself, against the specification, is expanded so many times at most.
    for (let depth = 0; depth < 32; depth++) {
      let found = false;
      for (const graph of [...model.graph.graphs()]) {
        for (const node of graph.nodes()) {
          const callee = functionOf(model, node);
          if (!callee) continue;
          const reason = whyNot(model, callee);
          if (reason) {
            report.refused(`${node.label} was not inlined: ${reason}.`);
            continue;
          }
          found = true;
          report.did(`${node.label} was replaced by the body of its function.`);
          inlineCall(model, node, callee);
        }
      }
      if (!found) return;
    }
  });
}

function functionOf(model: Model, node: Node): ModelFunction | undefined {
  return model.functions.find(
    (f) => f.name === node.opType && f.domain === node.domain && f.overload === node.overload,
  );
}

function whyNot(model: Model, { opsets }: ModelFunction): string | undefined {
  for (const [domain, version] of opsets) {
    const ours = model.opsets.get(domain);
    if (ours !== undefined && ours !== version) {
      return `the function is written in opset ${version} of "${domain || 'ai.onnx'}", the model in ${ours}`;
    }
  }
  return undefined;
}

function inlineCall(model: Model, node: Node, { body, defaults, opsets }: ModelFunction): void {
  for (const [domain, version] of opsets) if (!model.opsets.has(domain)) model.opsets.set(domain, version);
  const actuals = new Map(body.inputs.map((formal, i) => [formal, node.inputs[i] ?? null]));
  substitute(
    node,
    inlineGraph(body, node, actuals, (name) => node.attributes.get(name) ?? defaults.get(name)),
  );
}

/** Puts `results` in the place of the outputs of `node`, and removes it. */
function substitute(node: Node, results: readonly Value[]): void {
  const { graph } = node;
  if (!graph) return;
  for (const [i, output] of [...node.outputs].entries()) {
    let result = results[i];
    if (!output || !result || output.isUnused) continue;
    if (!canReplace(output, result)) result = graph.addNode('Identity', [result], { before: node }).output;
    replaceValue(output, result);
  }
  if (node.graph) graph.remove(node);
}

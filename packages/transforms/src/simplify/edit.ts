import { type Node, type Tensor, tensorType, type Value } from '@pare/core';

/**
 * Whether `old` may give way to `replacement` everywhere. Not when `old` is an output of its graph and `replacement` cannot
 * take over that name: it is an input, an initializer, an output already, or of another graph.
 */
export function canReplace(old: Value, replacement: Value): boolean {
  if (!old.isGraphOutput) return true;
  return (
    old.graph.outputs.includes(old) &&
    replacement.graph === old.graph &&
    replacement.producer !== undefined &&
    !replacement.isGraphOutput &&
    !replacement.isGraphInput
  );
}

/**
 * Makes every reader of `old` read `replacement`; where an output of the graph must keep `old`, the nodes at least. Returns
 * whether anything changed. What no longer has readers is removed, upwards.
 */
export function replaceValue(old: Value, replacement: Value): boolean {
  if (old === replacement) return false;
  const { producer } = old;
  if (canReplace(old, replacement)) {
    if (old.isUnused) return false;
    const declared = old.isGraphOutput ? old.type : undefined;
    const documented = old.origin;
    old.graph.replaceAllUses(old, replacement);
    if (declared) {
      replacement.type = declared;
      replacement.origin = documented;
    }
  } else {
    const uses = [...old.uses].filter(({ node }) => node !== producer);
    if (uses.length === 0) return false;
    for (const { node, index } of uses) node.setInput(index, replacement);
  }
  if (producer) removeUnused(producer);
  return true;
}

/** Removes `node` when nobody reads what it computes, then its producers that only it kept alive. */
export function removeUnused(node: Node): void {
  const pending: Node[] = [node];
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (!next.graph || next.outputs.some((output) => output && !output.isUnused)) continue;
    const inputs = new Set(inputsOf(next));
    next.graph.remove(next);
    for (const input of inputs) {
      if (input.producer) pending.push(input.producer);
      else removeUnusedInitializer(input);
    }
  }
}

/** Removes what computes or holds `value` when nobody reads it. */
export function removeUnusedValue(value: Value): void {
  if (value.producer) removeUnused(value.producer);
  else removeUnusedInitializer(value);
}

/** Removes an initializer that nobody reads; one that the caller may override stays, as an input. */
export function removeUnusedInitializer(value: Value): boolean {
  const isConstant = value.initializer !== undefined || value.sparseInitializer !== undefined;
  if (!isConstant || !value.isUnused || value.isGraphInput) return false;
  value.graph.removeValue(value);
  return true;
}

/** What `node` reads, in its subgraphs too. */
export function* inputsOf(node: Node): Generator<Value> {
  for (const input of node.inputs) if (input) yield input;
  for (const sub of node.subgraphs()) {
    for (const inner of sub.allNodes()) {
      for (const input of inner.inputs) if (input && input.graph !== sub) yield input;
    }
  }
}

/** The node that computes `value`, when it is of the default domain's `opType` and in the graph of `reader`. */
export function madeBy(value: Value | null | undefined, opType: string, reader: Node): Node | undefined {
  const { producer } = value ?? {};
  return producer?.is(opType) && producer.graph === reader.graph ? producer : undefined;
}

/** Whether `value` is read by one input of one node and by nothing else. */
export function hasOneUse(value: Value): boolean {
  return value.uses.size === 1 && !value.isGraphOutput;
}

/** Whether only the first output of `node` is read. */
export function hasOneOutput(node: Node): boolean {
  return node.outputs.every((output, i) => i === 0 || !output || output.isUnused);
}

/** Makes `value` hold `tensor` instead of being computed; its producer goes if nothing else needs it. */
export function makeConstant(value: Value, tensor: Tensor): void {
  const { producer, graph } = value;
  if (producer) producer.setOutput(producer.outputs.indexOf(value), null);
  value.type = tensorType(tensor.dtype, tensor.dims);
  graph.setInitializer(value, tensor);
  if (producer) removeUnused(producer);
}

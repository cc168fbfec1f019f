import { type Engine, type Feeds, type HostTensor, inferTypes, isFloat, type Model } from '@pare/core';

/**
 * Runs `model` with every inner float tensor as an output and returns a sentence about the first one, in the order of
 * computation, that holds a NaN or an infinity; undefined when all are finite. Memory of all tensors at once: for the one
 * step that went wrong.
 */
export async function firstNonFinite(engine: Engine, model: Model, feeds: Feeds): Promise<string | undefined> {
  for (const [name, tensor] of Object.entries(feeds)) {
    const found = nonFinite(tensor);
    if (found) return `the first bad tensor is the input "${name}", which holds ${found}`;
  }
  const copy = model.clone();
  const inference = inferTypes(copy);
  const names: string[] = [];
  const producers = new Map<string, string>();
  for (const node of copy.graph.nodes()) {
    for (const y of node.outputs) {
      const type = y && inference.typeOf(y);
      if (!y || type?.kind !== 'tensor' || !type.dtype || !isFloat(type.dtype)) continue;
      names.push(y.name);
      producers.set(y.name, node.label);
      if (y.isGraphOutput) continue;
      y.type = type;
      copy.graph.addOutput(y);
    }
  }
  const session = await engine.open(copy, { optimization: 'disabled', memoryPattern: false });
  try {
    const results = await session.run(feeds, names);
    for (const name of names) {
      const found = nonFinite(results[name] as HostTensor);
      if (found) return `the first bad tensor is "${name}" of ${producers.get(name)}, which holds ${found}`;
    }
    return undefined;
  } finally {
    await session.close();
  }
}

function nonFinite({ dtype, data }: HostTensor): string | undefined {
  if (dtype !== 'float32' && dtype !== 'float64') return undefined;
  const values = data as Float32Array;
  let nan = 0;
  let infinite = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) nan++;
    else if (!Number.isFinite(values[i])) infinite++;
  }
  if (nan === 0 && infinite === 0) return undefined;
  return [nan > 0 ? `${nan} NaN` : '', infinite > 0 ? `${infinite} infinite values` : ''].filter(Boolean).join(' and ');
}

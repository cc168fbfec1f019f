import type { Graph, Model, Node, Value } from '@pare/core';
import { PareError } from '@pare/core';

/**
 * The inputs of each operator that hold weights when they are constant. Of Add and Mul either side may (a bias after a MatMul,
 * the scale and shift of a normalization); subtraction and division by a constant are how preprocessing is written.
 */
const WEIGHTS: Readonly<Record<string, readonly number[]>> = {
  Add: [0, 1],
  Attention: [],
  BatchNormalization: [1, 2],
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Einsum: [0, 1, 2],
  GRU: [1, 2, 3],
  Gather: [0],
  Gemm: [0, 1, 2],
  GroupNormalization: [1, 2],
  InstanceNormalization: [1, 2],
  LSTM: [1, 2, 3, 7],
  LayerNormalization: [1, 2],
  MatMul: [0, 1],
  Mul: [0, 1],
  PRelu: [1],
  RMSNormalization: [1],
  RNN: [1, 2, 3],
};

/** Operators that hand a weight on in another form. */
const FORMS: ReadonlySet<string> = new Set(['Identity', 'Transpose', 'Reshape', 'Unsqueeze', 'Squeeze', 'Flatten']);

/** A constant this large is a mask (minus infinity for what attention must not see), not a weight. */
const MASK = 1e4;

/**
 * Names of the constants of `model` that training may change: float32 or float64 tensors where an operator takes its weights.
 * The running statistics of BatchNormalization, masks, single numbers beside Add and Mul, and what scales the model's own
 * input before the first layer are none, nor those that a branch of an If keeps for itself.
 * @throws PareError `unsupported` when the weights are float16 or integers.
 */
export function trainableParameters(model: Model): string[] {
  const names = new Set<string>();
  const halves: string[] = [];
  const fed = new Set<Value>();
  for (const graph of model.graph.graphs()) collect(graph, model.graph, names, halves, fed);
  if (names.size === 0) {
    const quantized = [...model.allNodes()].find((node) => /Linear$|Integer$|NBits$/.test(node.opType));
    throw new PareError(
      'unsupported',
      quantized
        ? `The weights of the model are integers (${quantized.label}): train the float32 model that it was made from.`
        : halves.length > 0
          ? `The weights of the model are 16-bit (${halves[0]}): train the float32 model that it was made from.`
          : 'The model has no float weights: there is nothing to train.',
    );
  }
  return [...names];
}

/** `fed`: values that a weight has gone into; before the first one, Add and Mul are preprocessing. */
function collect(graph: Graph, main: Graph, names: Set<string>, halves: string[], fed: Set<Value>): void {
  for (const node of graph.nodes()) {
    const elementwise = node.opType === 'Add' || node.opType === 'Mul';
    const after = node.inputs.some((x) => x && fed.has(x));
    for (const index of WEIGHTS[node.opType] ?? []) {
      const weight = origin(node.inputs[index]);
      const tensor = weight?.constant;
      // Gradients lead to values of the main graph: what a branch keeps for itself stays as it is.
      if (!weight || !tensor || weight.graph !== main) continue;
      if (tensor.dtype === 'float16' || tensor.dtype === 'bfloat16') halves.push(weight.name);
      if (tensor.dtype !== 'float32' && tensor.dtype !== 'float64') continue;
      if (elementwise && (!after || tensor.size <= 1 || isMask(tensor.numbers()))) continue;
      names.add(weight.name);
    }
    if (after || weighs(node, names)) for (const y of node.outputs) if (y) fed.add(y);
  }
}

function weighs(node: Node, names: ReadonlySet<string>): boolean {
  return node.inputs.some((x) => {
    const weight = origin(x);
    return weight !== undefined && names.has(weight.name);
  });
}

function isMask(values: readonly number[] | undefined): boolean {
  return values?.some((v) => !(Math.abs(v) < MASK)) ?? false;
}

/** The constant that `value` is another form of, or itself. */
function origin(value: Value | null | undefined): Value | undefined {
  let at = value ?? undefined;
  while (at?.producer && FORMS.has(at.producer.opType)) at = at.producer.inputs[0] ?? undefined;
  return at;
}

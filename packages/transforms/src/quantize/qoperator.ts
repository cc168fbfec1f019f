import { type Graph, type Model, Node, type Value } from '@pare/core';

/** A quantized tensor: real = scale * (integers - zeroPoint). */
interface Quantized {
  readonly integers: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** What a rule has to work with. */
interface Site {
  readonly node: Node;
  /** The inputs behind their DequantizeLinear; null where an input is left out or is no such thing. */
  readonly inputs: readonly (Quantized | null)[];
  /** What the QuantizeLinear that alone reads the output makes; undefined when the output is read as float. */
  readonly output: Quantized | undefined;
}

/** The operator that takes the integers, with its inputs; undefined when this node has to stay. */
type Rule = (site: Site) => Replacement | undefined;

interface Replacement {
  readonly opType: string;
  readonly domain: '' | 'com.microsoft';
  readonly inputs: readonly (Value | null)[];
  /** Attributes of the node to drop. Default none. */
  readonly drop?: readonly string[];
  /** The output is float although the inputs are integers. */
  readonly float?: boolean;
}

const MS = 'com.microsoft';

/** The inputs of a quantized tensor in the order that most operators want. */
const spread = ({ integers, scale, zeroPoint }: Quantized): Value[] => [integers, scale, zeroPoint];

/** com.microsoft.QLinear* of one input (and the parameters of the output). */
const unary: Rule = ({ node, inputs: [x], output: y }) =>
  x && y ? { opType: `QLinear${node.opType}`, domain: MS, inputs: [...spread(x), y.scale, y.zeroPoint] } : undefined;

const binary: Rule = ({ node, inputs: [a, b], output: y }) =>
  a && b && y
    ? { opType: `QLinear${node.opType}`, domain: MS, inputs: [...spread(a), ...spread(b), y.scale, y.zeroPoint] }
    : undefined;

/** Operators that take integers themselves: the scale goes through. */
const carry: Rule = ({ node, inputs: [x], output: y }) =>
  x && y ? { opType: node.opType, domain: '', inputs: [x.integers, ...node.inputs.slice(1)] } : undefined;

const RULES: Readonly<Record<string, Rule>> = {
  Conv: ({ inputs: [x, w, b], output: y, node }) =>
    x && w && y && Boolean(b) === Boolean(node.inputs[2])
      ? {
          opType: 'QLinearConv',
          domain: '',
          inputs: [...spread(x), ...spread(w), y.scale, y.zeroPoint, b?.integers ?? null],
        }
      : undefined,
  Gemm: ({ inputs: [a, b, c], output: y, node }) =>
    a && b && Boolean(c) === Boolean(node.inputs[2])
      ? {
          opType: 'QGemm',
          domain: MS,
          inputs: [...spread(a), ...spread(b), c?.integers ?? null, y?.scale ?? null, y?.zeroPoint ?? null],
          drop: ['beta'],
          float: !y,
        }
      : undefined,
  MatMul: ({ inputs: [a, b], output: y }) => {
    if (!a || !b) return undefined;
    if (y) return { opType: 'QLinearMatMul', domain: '', inputs: [...spread(a), ...spread(b), y.scale, y.zeroPoint] };
    const inputs = [a.integers, b.integers, a.scale, b.scale, a.zeroPoint, b.zeroPoint];
    return { opType: 'MatMulIntegerToFloat', domain: MS, inputs, float: true };
  },
  Add: binary,
  Mul: binary,
  Concat: ({ inputs, output: y }) =>
    y && inputs.every((x) => x !== null)
      ? { opType: 'QLinearConcat', domain: MS, inputs: [y.scale, y.zeroPoint, ...inputs.flatMap(spread)] }
      : undefined,
  Sigmoid: unary,
  LeakyRelu: unary,
  GlobalAveragePool: unary,
  AveragePool: unary,
  MaxPool: carry,
  Reshape: carry,
  Flatten: carry,
  Squeeze: carry,
  Unsqueeze: carry,
  Transpose: carry,
  Slice: carry,
  Gather: carry,
  Expand: carry,
  Tile: carry,
  DepthToSpace: carry,
  Resize: carry,
};

/**
 * Turns the QDQ form of the main graph into operators that take integers (QLinearConv, QGemm, ...): for runtimes that do not
 * fuse the pairs themselves. Returns a sentence for each Conv that has to keep its pairs.
 */
export function toQOperator(model: Model): string[] {
  const { graph } = model;
  const notes: string[] = [];
  for (const node of graph.nodes()) {
    const rule = node.domain === '' ? RULES[node.opType] : undefined;
    if (!rule) continue;
    const inputs = node.inputs.map((value) => dequantized(value));
    if (!inputs[0]) continue;
    const quantize = soleQuantize(node.output);
    const replacement = rule({ node, inputs, output: quantize && parametersOf(quantize, quantize.output) });
    if (replacement) replace(graph, node, replacement, quantize);
    else if (node.is('Conv')) {
      notes.push(
        `${node.label} keeps its pairs of QuantizeLinear and DequantizeLinear: what reads its output needs floats.`,
      );
    }
  }
  dropUnread(graph);
  for (const node of graph.nodes()) if (node.domain) model.ensureOpset(node.domain, 1);
  return notes;
}

function dequantized(value: Value | null): Quantized | null {
  const node = value?.producer;
  return node?.opType === 'DequantizeLinear' && node.inputs[0] ? (parametersOf(node, node.inputs[0]) ?? null) : null;
}

function parametersOf(node: Node, integers: Value): Quantized | undefined {
  const [, scale, zeroPoint] = node.inputs;
  return scale && zeroPoint ? { integers, scale, zeroPoint } : undefined;
}

/** The QuantizeLinear that alone reads `value`. */
function soleQuantize(value: Value): Node | undefined {
  if (value.isGraphOutput || value.uses.size !== 1) return undefined;
  const [reader] = value.consumers;
  return reader?.opType === 'QuantizeLinear' && reader.graph === value.graph ? reader : undefined;
}

function replace(
  graph: Graph,
  node: Node,
  { opType, domain, inputs, drop = [], float }: Replacement,
  quantize: Node | undefined,
): void {
  const made = new Node(opType, domain, node.name);
  made.setInputs(inputs);
  for (const [name, attribute] of node.attributes) if (!drop.includes(name)) made.setAttribute(name, attribute);
  graph.insertBefore(node, made);
  if (float || !quantize) {
    const { output } = node;
    node.setOutput(0, null);
    made.setOutput(0, output);
  } else {
    const integers = quantize.output;
    quantize.setOutput(0, null);
    graph.remove(quantize);
    made.setOutput(0, integers);
  }
  graph.remove(node);
}

/** Removes what nobody reads any more: pairs whose readers take the integers now, and their parameters. */
function dropUnread(graph: Graph): void {
  for (const node of graph.nodesReversed()) {
    if (/^(De)?[qQ]uantizeLinear$/.test(node.opType) && node.outputs.every((v) => v?.isUnused)) graph.remove(node);
  }
  for (const value of [...graph.initializers]) if (value.isUnused && !value.isGraphInput) graph.removeValue(value);
}

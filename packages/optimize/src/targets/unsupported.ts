import { type DType, inferTypes, type Model, type Node } from '@pare/core';
import { nodeCpu } from './node-cpu.js';
import type { Target, TargetName } from './profile.js';
import { quantizedProblem } from './quantized.js';
import { webWasm, webWebgpu } from './web.js';

/** An operator of a model that a target has no kernel for. */
export interface UnsupportedOperator {
  /** `Conv`, `com.microsoft.MatMulNBits`. */
  readonly operator: string;
  readonly nodes: number;
  /** Label of the first such node. */
  readonly example: string;
  /** One sentence: what is missing, and what happens then. */
  readonly reason: string;
}

/** What in `model` the target cannot run, or not where it should. Local functions count by what they call. */
export function unsupportedOn(model: Model, target: Target): UnsupportedOperator[] {
  const types = inferTypes(model);
  const found = new Map<string, { operator: string; nodes: number; example: string; reason: string }>();
  const functions = new Set(model.functions.map((f) => `${f.domain}:${f.name}`));
  for (const node of model.allNodes()) {
    if (functions.has(`${node.domain}:${node.opType}`)) continue;
    const dtypes = [...node.inputs, ...node.outputs].map((value) => {
      const type = value ? types.typeOf(value) : undefined;
      return type?.kind === 'tensor' ? type.dtype : undefined;
    });
    const reason = whyNot(node, dtypes, target);
    if (!reason) continue;
    const operator = node.domain ? `${node.domain}.${node.opType}` : node.opType;
    const row = found.get(`${operator} ${reason}`) ?? { operator, nodes: 0, example: node.label, reason };
    row.nodes++;
    found.set(`${operator} ${reason}`, row);
  }
  return [...found.values()];
}

/** What every target cannot run of a model, in sentences. */
export interface TargetSupport {
  readonly target: TargetName;
  readonly problems: readonly string[];
}

/** `unsupportedOn` for all targets. The operators of `node-cpu` are the same on every processor. */
export function targetSupport(model: Model): TargetSupport[] {
  return [nodeCpu('other'), webWasm, webWebgpu].map((target) => ({
    target: target.name,
    problems: unsupportedOn(model, target).map(({ nodes, example, reason }) =>
      nodes === 1 ? `${example}: ${reason}` : `${example} and ${nodes - 1} more: ${reason}`,
    ),
  }));
}

/** Operators that only move or reinterpret elements; they run in every type. */
const MOVES =
  /^(?:Cast|CastLike|Concat|Constant|ConstantOfShape|Compress|Flatten|Gather|GatherElements|GatherND|Identity|If|Loop|Reshape|Scan|Scatter|ScatterElements|ScatterND|Shape|Slice|Split|Squeeze|Transpose|Unsqueeze|DequantizeLinear|QuantizeLinear)$/u;

function whyNot(node: Node, dtypes: readonly (DType | undefined)[], target: Target): string | undefined {
  const operator = node.domain ? `${node.domain}.${node.opType}` : node.opType;
  if (!target.operators.has(operator)) return `There is no kernel for ${operator}: ${target.otherwise}.`;
  if (dtypes.includes('bfloat16') && !MOVES.test(node.opType)) return `There is no bfloat16 kernel for ${operator}.`;
  const quantized = quantizedProblem(operator, node, dtypes, target.name === 'web-webgpu' ? 'webgpu' : 'cpu');
  if (quantized) return quantized;
  if (target.name === 'web-webgpu' && dtypes.some((d) => d === 'float64')) {
    return `WebGPU has no float64: ${target.otherwise}.`;
  }
  return undefined;
}

import { type Node, type SparseTensor, Tensor, tensorType } from '@pare/core';
import { type Pass, rewritePass } from './rewrite.js';

/**
 * Constant nodes become initializers, in the graph that they are in: one place for constants, so that every later step
 * treats a weight as a weight. All forms of the operator are known (`value`, `sparse_value`, `value_int` and so on).
 */
export function constantsToInitializers(): Pass {
  return rewritePass('constants-to-initializers', {
    Constant(node) {
      const tensor = constantTensor(node);
      const { output, graph, label } = node;
      if (!tensor || !graph) return undefined;
      node.setOutput(0, null);
      output.type = tensorType(tensor instanceof Tensor ? tensor.dtype : tensor.values.dtype, tensor.dims);
      graph.setInitializer(output, tensor);
      graph.remove(node);
      return `${label} became an initializer.`;
    },
  });
}

function constantTensor(node: Node): Tensor | SparseTensor | undefined {
  for (const [name, attribute] of node.attributes) {
    switch (`${name}:${attribute.type}`) {
      case 'value:tensor':
      case 'sparse_value:sparseTensor':
        return attribute.value as Tensor | SparseTensor;
      case 'value_int:int':
        return Tensor.of('int64', [], [attribute.value as number | bigint]);
      case 'value_ints:ints':
        return list('int64', attribute.value as readonly (number | bigint)[]);
      case 'value_float:float':
        return Tensor.of('float32', [], [attribute.value as number]);
      case 'value_floats:floats':
        return list('float32', attribute.value as readonly number[]);
      case 'value_string:string':
        return strings([], [attribute.value as string | Uint8Array]);
      case 'value_strings:strings': {
        const values = attribute.value as readonly (string | Uint8Array)[];
        return strings([values.length], values);
      }
    }
  }
  return undefined;
}

function list(dtype: 'int64' | 'float32', values: readonly (number | bigint)[]): Tensor {
  return Tensor.of(dtype, [values.length], values);
}

function strings(dims: readonly number[], values: readonly (string | Uint8Array)[]): Tensor {
  const encoder = new TextEncoder();
  const bytes = values.map((v) => (typeof v === 'string' ? encoder.encode(v) : v));
  return new Tensor('string', dims, { kind: 'strings', values: bytes });
}

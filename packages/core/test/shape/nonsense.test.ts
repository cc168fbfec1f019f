import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/builder.js';
import type { DType } from '../../src/dtype.js';
import { float, floats } from '../../src/ir/attribute.js';
import { Tensor } from '../../src/ir/tensor.js';
import { type Dim, isTensorType, staticShape } from '../../src/ir/type.js';
import { canonicalDim } from '../../src/shape/dim.js';
import { inferTypes } from '../../src/shape/infer.js';
import { RULES } from '../../src/shape/rules/index.js';
import { Random } from './random.js';

const DTYPES: readonly DType[] = [
  'float32',
  'int64',
  'int32',
  'bool',
  'uint8',
  'string',
  'float16',
  'int4',
  'complex64',
];
/** Attributes of all operators that rules read, so that each is met with values that it does not expect. */
const INTS = [
  'axis',
  'keepdims',
  'to',
  'dtype',
  'blocksize',
  'group',
  'batch_dims',
  'num_outputs',
  'hidden_size',
  'layout',
  'ceil_mode',
  'transA',
  'transB',
  'start',
  'end',
  'onesided',
  'inverse',
  'num_heads',
  'kv_num_heads',
  'q_num_heads',
  'N',
  'K',
  'bits',
  'gather_axis',
  'channels_last',
  'num_scan_inputs',
  'size',
  'step',
  'dim',
  'output_dtype',
  'fmod',
  'new_axis',
  'k',
  'n_targets',
];
const LISTS = [
  'axes',
  'perm',
  'kernel_shape',
  'strides',
  'pads',
  'dilations',
  'output_shape',
  'output_padding',
  'starts',
  'ends',
  'split',
  'shape',
  'value_ints',
  'pooled_shape',
  'border',
  'scale',
  'qkv_hidden_sizes',
  'scan_input_axes',
  'inputdimensions',
];

function nonsense(r: Random, domain: string, name: string): GraphBuilder {
  const b = new GraphBuilder();
  const inputs = Array.from({ length: r.int(0, 6) }, (_, i) => {
    if (r.chance(0.1)) return null;
    const rank = r.int(0, 5);
    if (r.chance(0.4)) {
      const dims = r.dims(Math.min(rank, 2), 0, 4);
      const size = dims.reduce((x, y) => x * y, 1);
      const values = Array.from({ length: size }, () => r.pick([-(2 ** 31), -3, -1, 0, 1, 2, 7, 2 ** 31 - 1]));
      return b.constant(Tensor.of(r.pick(['int64', 'float32'] as const), dims, values));
    }
    const shape = Array.from(
      { length: rank },
      (): Dim => r.pick([null, 0, 1, 2, 5, 'N', 'M - 3', 'floor(N/2)', 'weird dim']),
    );
    return b.input(`x${i}`, r.pick(DTYPES), r.chance(0.1) ? undefined : shape);
  });
  const attributes: Record<string, ReturnType<typeof float> | number | number[] | string> = {};
  for (const key of INTS) if (r.chance(0.3)) attributes[key] = r.pick([-7, -1, 0, 1, 2, 3, 100]);
  for (const key of LISTS) if (r.chance(0.3)) attributes[key] = r.dims(r.int(0, 5), -3, 4);
  if (r.chance(0.3)) attributes.auto_pad = r.pick(['SAME_UPPER', 'VALID', 'WHATEVER']);
  if (r.chance(0.3)) attributes.equation = r.pick(['ij,jk', '->', '...,...i', 'i->jj', '']);
  if (r.chance(0.3)) attributes.scales = floats([0, -1, 2]);
  if (r.chance(0.1)) attributes.axis = float(1.5);
  b.node(name, inputs, attributes, { outputs: r.int(1, 4), domain });
  return b;
}

describe('rules', () => {
  const all = Object.entries(RULES).flatMap(([domain, rules]) =>
    Object.keys(rules).map((name) => [domain, name] as const),
  );

  it('answer without a crash, and with well-formed types, whatever they are given', () => {
    const r = new Random(Number(process.env.SEED ?? 11));
    for (let round = 0; round < Number(process.env.CASES ?? 20); round++) {
      for (const [domain, name] of all) {
        const b = nonsense(r, domain, name);
        const inference = inferTypes(b.model({ opset: r.pick([7, 9, 10, 11, 12, 13, 18, 21, 23]) }));
        for (const value of b.graph.values) {
          const type = inference.typeOf(value);
          if (!isTensorType(type) || !type.shape) continue;
          for (const dim of type.shape) {
            const valid =
              typeof dim === 'number'
                ? Number.isSafeInteger(dim) && dim >= 0
                : canonicalDim(dim) === dim && dim !== null;
            expect(valid, `${domain}.${name} gives a dimension ${dim}`).toBe(true);
          }
          const values = inference.valuesOf(value);
          const dims = staticShape(type.shape);
          if (values) expect(values.length, `${domain}.${name}`).toBe(dims?.reduce((x, y) => x * y, 1));
        }
      }
    }
  });
});

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type Dim, elementType, isTensorType, type Shape, type ValueType } from '../../src/ir/type.js';
import { parseModel } from '../../src/read.js';
import { evaluateDim } from '../../src/shape/dim.js';
import { inferTypes } from '../../src/shape/infer.js';

/** Type that a runtime returned; see golden/operator-cases.py. */
type Truth = readonly [dtype: string, dims: number[]] | { readonly sequence: readonly Truth[] } | null;

interface Case {
  readonly name: string;
  readonly runtime: string;
  readonly model: string;
  readonly inputs: readonly (readonly [name: string, dims: number[] | null])[];
  readonly outputs: readonly (readonly [name: string, type: Truth])[];
}

const file = new URL('../golden/operator-cases.json.gz', import.meta.url);
const cases = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Case[];

type Verdict = 'exact' | 'partial' | 'unknown' | 'wrong';
const ORDER: readonly Verdict[] = ['exact', 'partial', 'unknown', 'wrong'];
const worse = (a: Verdict, b: Verdict): Verdict => (ORDER.indexOf(a) > ORDER.indexOf(b) ? a : b);

/** How the inferred type compares with the truth when the names have the values `names`. */
function judge(type: ValueType | undefined, truth: Truth, names: Record<string, number>): Verdict {
  if (truth === null) return 'exact';
  if (!type) return 'unknown';
  if (type.kind === 'optional') return judge(elementType(type), truth, names);
  if ('sequence' in truth) {
    if (type.kind !== 'sequence') return 'wrong';
    return truth.sequence.map((t) => judge(elementType(type), t, names)).reduce(worse, 'exact');
  }
  if (!isTensorType(type)) return 'wrong';
  const [dtype, dims] = truth;
  if (type.dtype !== undefined && type.dtype !== dtype) return 'wrong';
  if (!type.shape) return 'unknown';
  if (type.shape.length !== dims.length) return 'wrong';
  const start: Verdict = type.dtype === undefined ? 'partial' : 'exact';
  return type.shape.map((d, i) => judgeDim(d, dims[i] as number, names)).reduce(worse, start);
}

function judgeDim(dim: Dim, truth: number, names: Record<string, number>): Verdict {
  const value = dim === null ? undefined : typeof dim === 'number' ? dim : evaluateDim(dim, names);
  if (value === undefined) return 'partial';
  return value === truth ? 'exact' : 'wrong';
}

/** Verdicts of all cases, with every input dimension as a name of its own when `symbolic`. */
async function judgeAll(symbolic: boolean): Promise<Record<Verdict, string[]>> {
  const verdicts: Record<Verdict, string[]> = { exact: [], partial: [], unknown: [], wrong: [] };
  for (const { name, model: bytes, inputs, outputs } of cases) {
    const model = await parseModel(new Uint8Array(Buffer.from(bytes, 'base64')));
    const names: Record<string, number> = {};
    const inputShapes: Record<string, Shape> = {};
    for (const [i, [input, dims]] of inputs.entries()) {
      if (!symbolic || !dims) continue;
      inputShapes[input] = dims.map((length, axis) => {
        names[`i${i}_${axis}`] = length;
        return `i${i}_${axis}`;
      });
    }
    const inference = inferTypes(model, { inputShapes });
    const verdict = outputs
      .map(([output, truth]) => {
        const value = model.graph.outputs.find((v) => v.name === output);
        return judge(value && inference.typeOf(value), truth, names);
      })
      .reduce(worse, 'exact');
    verdicts[verdict].push(name);
  }
  return verdicts;
}

describe('operator cases with the outputs of ONNX Runtime', () => {
  it('are there', () => {
    expect(cases.length).toBeGreaterThan(1400);
    expect(cases.filter((c) => c.runtime === 'onnxruntime').length).toBeGreaterThan(1000);
  });

  // The floors say how much is inferred at least; what is missing depends on data or has no rule (optimizers, FlexAttention).
  it.each([
    ['as declared', false, 1320],
    ['with symbolic inputs', true, 1240],
  ])('are never inferred wrong, and mostly exactly, %s', async (_, symbolic, floor) => {
    const { wrong, exact } = await judgeAll(symbolic);
    expect(wrong).toEqual([]);
    expect(exact.length).toBeGreaterThanOrEqual(floor);
  });
});

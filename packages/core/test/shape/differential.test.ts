import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/builder.js';
import type { Model } from '../../src/ir/model.js';
import { Tensor } from '../../src/ir/tensor.js';
import type { Dim } from '../../src/ir/type.js';
import { inferTypes } from '../../src/shape/infer.js';
import { type CaseInput, type OperatorCase, Random, toInt64 } from './random.js';
import { microsoftCases } from './random-microsoft-cases.js';
import { machineLearningCases } from './random-ml-cases.js';
import { networkCases } from './random-network-cases.js';
import { tensorCases } from './random-tensor-cases.js';
import { compare, type Feeds, run, toOrt } from './runtime.js';

/** How much the model tells the inference: all lengths, names for most of them, and also the contents of inputs or not. */
type Knowledge = 'static' | 'symbolic' | 'blind';

const elements = (input: CaseInput, r: Random): number[] => {
  const size = input.dims.reduce((a, b) => a * b, 1);
  const positive = !input.dtype.startsWith('float');
  return Array.from({ length: size }, (_, i) => input.values?.[i] ?? (positive ? 0 : r.unit()));
};

const tensorOf = (input: CaseInput, r: Random): Tensor => {
  const values = elements(input, r);
  return Tensor.of(input.dtype, input.dims, input.dtype.includes('int64') ? values.map(toInt64) : values);
};

interface Built {
  readonly model: Model;
  readonly names: Record<string, number>;
  readonly feeds: Feeds;
}

function build(c: OperatorCase, knowledge: Knowledge, seed: number): Built {
  const r = new Random(seed);
  const b = new GraphBuilder();
  const names: Record<string, number> = {};
  const feeds: Feeds = {};
  const shared = new Map<number, string>();
  const inputs = c.inputs.map((input, i) => {
    if (!input) return null;
    const tensor = tensorOf(input, new Random(seed + i));
    const fixed = input.constant || (input.values !== undefined && knowledge !== 'blind');
    if (fixed) return b.constant(tensor, `c${i}`);
    const shape = input.dims.map((length, axis): Dim => {
      if (knowledge === 'static' || r.chance(0.3)) return length;
      // Some equal lengths have the same name, as those of one batch do.
      const name = (r.chance(0.4) ? shared.get(length) : undefined) ?? `i${i}_${axis}`;
      shared.set(length, name);
      names[name] = length;
      return name;
    });
    feeds[`x${i}`] = toOrt(tensor);
    return b.input(`x${i}`, input.dtype, shape);
  });
  const node = b.node(c.op, inputs, c.attributes, { outputs: c.outputs ?? 1, domain: c.domain ?? '' });
  for (const [i, output] of [...node.outputs].entries()) if (output) b.output(`y${i}`, output);
  return { model: b.model({ opset: c.opset ?? 21 }), names, feeds };
}

const describeCase = (c: OperatorCase): string => JSON.stringify(c, (_, v) => (typeof v === 'bigint' ? `${v}n` : v));

const CASES = Number(process.env.CASES ?? 24);
/** Families whose results depend on the data, or (classifiers) on more than rules look at: no floor for what is known. */
const PARTIAL = new Set(['nonZero', 'unique', 'nonMaxSuppression', 'activation', 'linear']);

describe('differential against ONNX Runtime', () => {
  it.each(Object.entries({ ...tensorCases, ...networkCases, ...microsoftCases, ...machineLearningCases }))(
    '%s',
    async (family, generate) => {
      const counts = { ran: 0, static: 0, symbolic: 0, blind: 0 };
      for (let i = 0; i < CASES; i++) {
        const c = generate(new Random(1000 * i + 7));
        const { model, feeds } = build(c, 'static', i);
        const truth = await run(model, feeds);
        if (!truth) continue;
        counts.ran++;
        for (const knowledge of ['static', 'symbolic', 'blind'] as const) {
          const twin = build(c, knowledge, i);
          const inference = inferTypes(twin.model);
          const complete = twin.model.graph.outputs.map((output) => {
            const found = truth[output.name];
            return !found || compare(inference, output, found, twin.names, `${knowledge} ${describeCase(c)}`);
          });
          if (complete.every((c) => c)) counts[knowledge]++;
        }
      }
      if (process.env.SHOW) process.stdout.write(`${family} ${JSON.stringify(counts)}\n`);
      expect(counts.ran).toBeGreaterThanOrEqual(CASES / 3);
      if (!PARTIAL.has(family)) expect(counts.static).toBeGreaterThanOrEqual(0.75 * counts.ran);
    },
  );
});

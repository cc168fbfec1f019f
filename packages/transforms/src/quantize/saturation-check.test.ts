import { type Engine, type Feeds, GraphBuilder, type Model, type Session } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { answersOf } from './answers.js';
import { calibrate } from './calibrate.js';
import { chooseRemedy, measureSaturation, pickRemedy } from './saturation-check.js';
import { quantizeStatic } from './static.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const samples: Feeds[] = Array.from({ length: 6 }, (_, i) => ({
  x: {
    dtype: 'float32',
    dims: [4, 64],
    data: Float32Array.from({ length: 256 }, (_, k) => Math.abs(Math.sin(k * (i + 3)))),
  },
}));

function network(): Model {
  const b = new GraphBuilder({ seed: 8 });
  const y = b.op('MatMul', [b.input('x', 'float32', ['n', 64]), b.random([64, 32])]);
  return b.output('y', y, 'float32', ['n', 32]).model({ opset: 17 });
}

const without = (model: Model) => [...model.graph.initializers].find((v) => v.dtype === 'int8')?.initializer;

/**
 * An engine whose integer kernels add pairs of u8s8 products in 16 bits, as x64 without VNNI does: it gives wrong answers when
 * a pair of the model's int8 weights can overflow and no session option asks for exact sums. Times are those it is told.
 */
function saturating(ms: (model: Model) => number): Engine {
  return {
    name: 'saturating',
    close: async () => undefined,
    open: async (model, options = {}) => {
      const session = await engine.open(model, options);
      const weights = model instanceof Object && 'graph' in model ? without(model as Model) : undefined;
      const q = weights ? new Int8Array((await weights.load()).slice().buffer) : new Int8Array(0);
      let overflows = false;
      for (let k = 0; k + 1 < 64; k += 2) {
        for (let n = 0; n < 32; n++) {
          const [a, b] = [q[k * 32 + n] ?? 0, q[(k + 1) * 32 + n] ?? 0];
          if (a * b > 0 && 255 * Math.abs(a + b) > 32767) overflows = true;
        }
      }
      const isExact = options.optimization === 'disabled' || options.config?.['session.x64quantprecision'] === '1';
      const run: Session['run'] = async (feeds) => {
        const outputs = await session.run(feeds);
        if (!overflows || isExact) return outputs;
        return Object.fromEntries(
          Object.entries(outputs).map(([name, t]) => [
            name,
            { ...t, data: (t.data as Float32Array).map((v) => v * 0.7) },
          ]),
        );
      };
      const slow = options.config?.['session.x64quantprecision'] === '1' ? 1.5 : 1;
      const time: Session['time'] = async (_, times) => new Float64Array(times).fill(ms(model as Model) * slow);
      return { ...session, inputs: session.inputs, outputs: session.outputs, run, time, close: () => session.close() };
    },
  };
}

describe('measureSaturation', () => {
  it('finds no gap where sums are exact, and one where they are not', async () => {
    const model = network();
    const expected = await answersOf(model, samples, { engine });
    const quantized = model.clone();
    await quantized.transform(quantizeStatic({ samples, guard: 'none', method: 'min-max' }), { engine });
    // 8-bit weights on a processor with VNNI, or 7-bit ones anywhere.
    const safe = model.clone();
    await safe.transform(quantizeStatic({ samples, guard: 'reduced', method: 'min-max' }), { engine });
    expect(Math.abs((await measureSaturation(safe, expected, { engine })).gap)).toBeLessThan(0.5);
    const broken = await measureSaturation(quantized, expected, { engine: saturating(() => 1) });
    expect(broken.gap).toBeGreaterThan(10);
  });
});

describe('chooseRemedy', () => {
  const isFloat = (model: Model): boolean => without(model) === undefined;

  it('keeps the pairs apart on a processor that saturates, and tells what was measured', async () => {
    const calibration = await calibrate(network(), samples, { engine, method: 'min-max' });
    const mocked = saturating((model) =>
      isFloat(model)
        ? 4
        : [...model.graph.initializers].some((v) => v.dtype === 'uint8' && v.shape?.length === 2)
          ? 3
          : 1,
    );
    const choice = await chooseRemedy(network(), { samples, calibration, engine: mocked });
    expect(choice.options).toEqual({ guard: 'pairs' });
    expect(choice.config).toEqual({});
    expect(choice.measured.map((m) => m.remedy)).toEqual(['none', 'pairs', 'reduced', 'u8u8', 'x64quantprecision']);
    expect(choice.note).toMatch(/saturate on this processor and cost \d+\.\d dB; took pairs/);
  });

  it('leaves the model in float when nothing is faster', async () => {
    const calibration = await calibrate(network(), samples, { engine, method: 'min-max' });
    const mocked = saturating((model) => (isFloat(model) ? 1 : 2));
    expect((await chooseRemedy(network(), { samples, calibration, engine: mocked })).options).toBeUndefined();
  });

  it('asks for no remedy where sums are exact', async () => {
    const calibration = await calibrate(network(), samples, { engine, method: 'min-max' });
    const exact: Engine = {
      ...saturating(() => 1),
      open: (model, options) => engine.open(model, { ...options, optimization: 'disabled' }),
    };
    const choice = await chooseRemedy(network(), { samples, calibration, engine: exact });
    expect(choice.options).toEqual({ guard: 'none' });
    expect(choice.measured).toEqual([]);
  });
});

describe('pickRemedy', () => {
  it('takes the fastest of those that are sound', () => {
    const none = { remedy: 'none', sqnr: 9, ms: 1 } as const;
    const pairs = { remedy: 'pairs', sqnr: 28, ms: 1.02 } as const;
    const u8u8 = { remedy: 'u8u8', sqnr: 29, ms: 1.5 } as const;
    expect(pickRemedy([none, pairs, u8u8], 2)).toBe(pairs);
    expect(pickRemedy([none, u8u8], 2)).toBe(u8u8);
    expect(pickRemedy([none, { ...pairs, sqnr: 25 }, u8u8], 2)).toBe(u8u8);
    expect(
      pickRemedy(
        [
          { ...pairs, sqnr: 36 },
          { ...u8u8, sqnr: 50 },
        ],
        2,
      ).remedy,
    ).toBe('pairs');
    expect(pickRemedy([none, pairs, u8u8], 1).remedy).toBe('float');
  });
});

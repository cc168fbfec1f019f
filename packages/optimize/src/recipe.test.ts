import { type Feeds, GraphBuilder, type HostTensor, type Model, serializeModel } from '@pare/core';
import { nodeEngine, wasmEngine } from '@pare/core/node';
import { afterAll, expect, it } from 'vitest';
import { planRecipes } from './plan.js';
import { applyRecipe } from './recipe.js';
import { TARGET_NAMES } from './targets/profile.js';

const engine = nodeEngine();
const wasm = wasmEngine();
afterAll(() => Promise.all([engine.close(), wasm.close()]));

/** A convolution, a product and a lookup, on pictures with a token each. */
function mixed(): Model {
  const b = new GraphBuilder();
  let y = b.op('Relu', [b.op('Conv', [b.input('x', 'float32', ['n', 3, 16, 16]), b.random([32, 3, 3, 3])])]);
  y = b.op('Flatten', [b.op('GlobalAveragePool', [y])]);
  y = b.op('Add', [y, b.op('Gather', [b.random([64, 32]), b.input('token', 'int64', ['n'])])]);
  y = b.op('MatMul', [b.op('Relu', [b.op('MatMul', [y, b.random([32, 128])])]), b.random([128, 10])]);
  return b.output('y', y, 'float32', ['n', 10]).model();
}

function feeds(seed: number): Feeds {
  const data = Float32Array.from({ length: 4 * 768 }, (_, i) => Math.sin(seed * 7919 + i * i));
  return {
    x: { dtype: 'float32', dims: [4, 3, 16, 16], data },
    token: { dtype: 'int64', dims: [4], data: BigInt64Array.of(1n, 5n, 63n, BigInt(seed)) },
  };
}

async function run(model: Model, on = engine): Promise<{ y: Float32Array; bytes: number }> {
  const bytes = await serializeModel(model).file.bytes();
  const session = await on.open(bytes);
  const y = (await session.run(feeds(9))).y as HostTensor;
  await session.close();
  return { y: y.data as Float32Array, bytes: bytes.byteLength };
}

it.each(TARGET_NAMES)(
  'every recipe for %s makes a model that runs, is no larger, and answers alike',
  async (target) => {
    const original = mixed();
    const on = target === 'web-wasm' ? wasm : engine;
    const truth = await run(original, on);
    const { recipes } = await planRecipes(original, target, { calibrated: true });
    for (const recipe of recipes) {
      // Through JSON, as a stored recipe comes back.
      const stored = JSON.parse(JSON.stringify(recipe)) as typeof recipe;
      const model = original.clone();
      const calibration = async function* () {
        yield feeds(1);
        yield feeds(2);
      };
      const applied = await applyRecipe(model, stored, { engine, calibration });
      expect(applied.map((step) => step.transform)).toEqual(recipe.steps.map((step) => step.transform));
      const { y, bytes } = await run(model, on);
      if (recipe.steps.length > 0) expect(bytes, recipe.name).toBeLessThan(0.85 * truth.bytes);
      const error = y.reduce((sum, v, i) => sum + (v - (truth.y[i] as number)) ** 2, 0);
      const signal = truth.y.reduce((sum, v) => sum + v * v, 0);
      expect(10 * Math.log10(signal / error), recipe.name).toBeGreaterThan(recipe.name.startsWith('int4') ? 15 : 25);
    }
  },
);

it('brings regular expressions back from their text', async () => {
  const model = mixed();
  const options = { exclude: ['/^MatMul_out$/', 'Gather', 'Conv'] };
  await applyRecipe(
    model,
    { name: 'x', dtype: 'q8', why: '', steps: [{ transform: 'quantize-dynamic', options }] },
    {},
  );
  const operators = [...model.allNodes()].map((node) => node.opType);
  expect(operators.filter((op) => op === 'MatMul')).toHaveLength(1);
  expect(operators.filter((op) => op === 'MatMulInteger')).toHaveLength(1);
});

it('refuses a recipe that finds nothing to change', async () => {
  const b = new GraphBuilder();
  const model = b.output('y', b.op('Relu', [b.input('x', 'float32', [4])]), 'float32', [4]).model({ opset: 9 });
  const calibration = async function* () {
    yield { x: { dtype: 'float32', dims: [4], data: new Float32Array(4) } as const };
  };
  // A newer opset is needed for it, and is not a change by itself.
  const upgrade = { transform: 'upgrade-opset', options: { to: 21 } } as const;
  for (const transform of ['quantize-dynamic', 'quantize-weights', 'quantize-static'] as const) {
    const recipe = { name: 'int8', dtype: 'int8', why: '', steps: [upgrade, { transform, options: {} }] };
    const applied = applyRecipe(model.clone(), recipe, { engine, calibration });
    await expect(applied, transform).rejects.toThrow(/^There is nothing in the model that int8 could change/);
  }
  await expect(applyRecipe(model, { name: 'fp32', dtype: 'fp32', why: '', steps: [] }, {})).resolves.toEqual([]);
});

import { GraphBuilder, type Model } from '@pare/core';
import { float16, quantizeDynamic } from '@pare/transforms';
import { describe, expect, it } from 'vitest';
import { type Plan, planRecipes } from './plan.js';
import type { CpuFlavour } from './targets/detect.js';
import { TARGET_NAMES, type TargetName, targetProfile } from './targets/profile.js';
import { targetSupport, unsupportedOn } from './targets/unsupported.js';

/** Two convolutions and a small classifier. */
function convolutional(): Model {
  const b = new GraphBuilder();
  let y = b.op('Conv', [b.input('x', 'float32', ['n', 3, 32, 32]), b.random([32, 3, 3, 3])]);
  y = b.op('Flatten', [b.op('GlobalAveragePool', [b.op('Conv', [y, b.random([64, 32, 3, 3])])])]);
  return b.output('y', b.op('Gemm', [y, b.random([64, 10]), b.random([10])]), 'float32', ['n', 10]).model();
}

/** Three matrix products on `rows` rows. */
function transformer(rows: number | string): Model {
  const b = new GraphBuilder();
  let y = b.input('x', 'float32', [1, rows, 64]);
  for (let i = 0; i < 3; i++) y = b.op('MatMul', [y, b.random([64, 64])]);
  return b.output('y', y, 'float32', [1, rows, 64]).model();
}

async function plan(model: Model, target: TargetName, cpu?: CpuFlavour, calibrated = true): Promise<Plan> {
  return planRecipes(model, await targetProfile(target, cpu ? { cpu } : {}), { calibrated });
}
const names = (p: Plan): string[] => p.recipes.map((r) => r.name);
const reason = (p: Plan, name: string): string => p.refused.find((r) => r.name === name)?.reason ?? 'not refused';
const options = (p: Plan, name: string) => p.recipes.find((r) => r.name === name)?.steps[0]?.options;

describe('planRecipes', () => {
  it('on a CPU: static integers for convolutions, no dynamic ones', async () => {
    const p = await plan(convolutional(), 'node-cpu', 'x64-vnni');
    expect(names(p)).toEqual(['fp32', 'fp16', 'int8', 'int8-weights']);
    expect(reason(p, 'int4-weights')).toMatch(/^Only 3% of its weights .* 4-bit form\.$/);
    expect(reason(p, 'int8-dynamic')).toMatch(/^Only 3% of its weights are in matrix products/);
  });

  it('on a CPU: everything for a transformer, with the types of the processor', async () => {
    const vnni = await plan(transformer('rows'), 'node-cpu', 'x64-vnni');
    expect(names(vnni)).toEqual(['fp32', 'fp16', 'int8', 'int8-dynamic', 'int8-weights', 'int4-weights']);
    expect(options(vnni, 'int8')).toMatchObject({ activations: 'uint8', guard: 'none' });
    expect(options(vnni, 'int8-dynamic')).toMatchObject({ weights: 'int8' });
    const avx2 = await plan(transformer('rows'), 'node-cpu', 'x64-avx2');
    expect(avx2.target.integers?.saturates).toBe(true);
    expect(options(avx2, 'int8')).toMatchObject({ guard: 'pairs' });
    expect(options(avx2, 'int8-dynamic')).toMatchObject({ weights: 'uint8' });
    const arm = await plan(transformer('rows'), 'node-cpu', 'arm64-dotprod');
    expect(options(arm, 'int8')).toMatchObject({ activations: 'int8', symmetric: true });
  });

  it('without samples refuses what needs calibration, and says what to do', async () => {
    const p = await plan(convolutional(), 'node-cpu', 'x64-vnni', false);
    expect(reason(p, 'int8')).toMatch(/give some with --data/);
  });

  it('on WASM: 8-bit weights for bytes, dynamic integers for products, float16 where it costs no time', async () => {
    expect(names(await plan(convolutional(), 'web-wasm'))).toEqual(['fp32', 'int8-weights']);
    const many = await plan(transformer('rows'), 'web-wasm');
    expect(names(many)).toEqual(['fp32', 'fp16', 'int8-dynamic', 'int8-weights']);
    expect(options(many, 'int8-weights')).toMatchObject({ bits: 8, format: 'cast' });
    expect(options(many, 'int8-dynamic')).toMatchObject({ weights: 'uint8' });
    expect(reason(many, 'int8')).toMatch(/twice the float time/);
    expect(reason(many, 'int4-weights')).toMatch(/12 to 20 times/);
    expect(reason(await plan(convolutional(), 'web-wasm'), 'fp16')).toMatch(/1\.6 times the float time/);
  });

  it('on WebGPU: float16 and 4-bit weights, never integer activations', async () => {
    const p = await plan(transformer('rows'), 'web-webgpu');
    expect(names(p)).toEqual(['fp32', 'fp16', 'int8-weights', 'int4-weights', 'int4-fp16']);
    expect(options(p, 'int8-weights')).toMatchObject({ format: 'matmulnbits' });
    expect(options(await plan(convolutional(), 'web-webgpu'), 'int8-weights')).toMatchObject({ format: 'cast' });
    expect(p.recipes.at(-1)?.steps.map((s) => s.transform)).toEqual(['quantize-weights', 'float16']);
    for (const name of ['int8', 'int8-dynamic']) expect(reason(p, name)).toMatch(/no integer kernels/);
  });

  it('refuses what has been done already, and what has nothing to do', async () => {
    const quantized = transformer('rows');
    await quantized.transform(quantizeDynamic());
    const half = transformer('rows');
    await half.transform(float16());
    const b = new GraphBuilder();
    const bare = b.output('y', b.op('Relu', [b.input('x', 'float32', [4])]), 'float32', [4]).model();
    for (const target of TARGET_NAMES) {
      const again = await plan(quantized, target, 'x64-vnni');
      expect(names(again)).toEqual(['fp32']);
      expect(reason(again, 'fp16')).toMatch(/quantized already/);
      const halves = await plan(half, target, 'x64-vnni');
      expect(names(halves)).toEqual(['fp32']);
      expect(reason(halves, 'fp16')).toBe('The model is float16 already.');
      expect(reason(halves, 'int8-weights')).toMatch(/start from the float32 model/);
      const nothing = await plan(bare, target, 'x64-vnni');
      expect(names(nothing)).toEqual(['fp32']);
      for (const { reason } of nothing.refused) expect(reason).toMatch(/^[A-Z].*\.$/);
    }
  });
});

describe('unsupportedOn', () => {
  it('names operators without a kernel', async () => {
    const model = convolutional();
    await model.transform(quantizeDynamic());
    expect(unsupportedOn(model, await targetProfile('node-cpu'))).toEqual([]);
    const webgpu = unsupportedOn(model, await targetProfile('web-webgpu'));
    expect(webgpu.map((u) => [u.operator, u.nodes])).toEqual([
      ['DynamicQuantizeLinear', 3],
      ['ConvInteger', 2],
      ['MatMulInteger', 1],
    ]);
    expect(targetSupport(model).map((t) => [t.target, t.problems.length])).toEqual([
      ['node-cpu', 0],
      ['web-wasm', 0],
      ['web-webgpu', 3],
    ]);
  });

  it('finds types and forms that fail at run time', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'bfloat16', [4, 4]);
    b.output('y', b.op('MatMul', [b.op('Transpose', [x]), x]));
    const custom = b.op('Mystery', [x], {}, 'acme');
    b.output('z', custom);
    const found = unsupportedOn(b.model(), await targetProfile('node-cpu'));
    expect(found.map((u) => u.operator)).toEqual(['MatMul', 'acme.Mystery']);
    expect(found[1]?.reason).toBe('There is no kernel for acme.Mystery: ONNX Runtime refuses the model.');
  });
});

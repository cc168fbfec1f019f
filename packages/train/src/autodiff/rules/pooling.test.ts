import { type AttributeLike, type DType, GraphBuilder, type Model, seededRandom, shuffle } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Attributes = Readonly<Record<string, AttributeLike>>;

const pooled = (
  op: string,
  x: readonly number[],
  attributes: Attributes,
  dtype: DType = 'float64',
  opset = 21,
): Model => expression(new GraphBuilder(), { x }, () => [], { dtype, opset }).graph.model ?? never();

function never(): never {
  throw new Error('unreachable');
}

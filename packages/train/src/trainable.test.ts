import { float, type Graph, GraphBuilder, Tensor } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { trainableParameters } from './trainable.js';

const floats = (dims: number[], fill = 0.5): Tensor =>
  Tensor.of('float32', dims, new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(fill));

describe('trainableParameters', () => {
  it('takes weights, and leaves statistics, scalars, masks and preprocessing', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 3, 8, 8]);
    const scaled = b.op('Mul', [
      b.op('Sub', [x, b.constant(floats([3, 1, 1]), 'mean')]),
      b.constant(floats([3, 1, 1]), 'std'),
    ]);
    const conv = b.op('Conv', [scaled, b.random([4, 3, 3, 3], { name: 'kernel' }), b.constant(floats([4]), 'bias')]);
    const norm = ['gamma', 'beta', 'running_mean', 'running_var'].map((name) => b.constant(floats([4]), name));
    const bn = b.op('BatchNormalization', [conv, ...norm]);
    const shift = b.op('Add', [
      b.op('Mul', [bn, b.constant(floats([]), 'half')]),
      b.constant(floats([4, 1, 1]), 'shift'),
    ]);
    const masked = b.op('Add', [shift, b.constant(floats([6, 6], -1e9), 'mask')]);
    const weight = b.op('Transpose', [b.random([5, 6], { name: 'head' })], { perm: [1, 0] });
    b.output('y', b.op('MatMul', [masked, weight]));
    expect(trainableParameters(b.model())).toEqual(['kernel', 'bias', 'gamma', 'beta', 'shift', 'head']);
  });

  it('leaves what a branch keeps for itself, and takes what it reads from outside', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 4]);
    const outside = b.random([4, 4], { name: 'outside' });
    const branch = (own: boolean): Graph => {
      const inner = new GraphBuilder({ outer: b });
      const weight = own ? inner.random([4, 4], { name: 'inside' }) : outside;
      return inner.output(own ? 'then' : 'else', inner.op('MatMul', [x, weight])).graph;
    };
    const condition = b.input('c', 'bool', []);
    b.output('y', b.op('If', [condition], { then_branch: branch(true), else_branch: branch(false) }));
    expect(trainableParameters(b.model())).toEqual(['outside']);
  });

  it('counts a tied weight once, and finds weights in Constant nodes', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 4]);
    const constant = b.node('Constant', [], { value: floats([4, 4]) }, { outputs: ['tied'] }).output;
    const once = b.op('MatMul', [x, constant]);
    b.output('y', b.op('MatMul', [once, constant]));
    expect(trainableParameters(b.model())).toEqual(['tied']);
  });

  it('says why there is nothing to train', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 4]);
    b.output('y', b.op('LeakyRelu', [x], { alpha: float(0.1) }));
    expect(() => trainableParameters(b.model())).toThrow('The model has no float weights: there is nothing to train.');

    const q = new GraphBuilder();
    const i = q.input('i', 'uint8', [2, 4]);
    q.output('y', q.op('MatMulInteger', [i, Tensor.of('int8', [4, 2], new Int8Array(8))]));
    expect(() => trainableParameters(q.model())).toThrow(/weights of the model are integers \(MatMulInteger/);

    const h = new GraphBuilder();
    const j = h.input('j', 'float16', [2, 4]);
    h.output('y', h.op('MatMul', [j, Tensor.of('float16', [4, 2], new Uint16Array(8))]));
    expect(() => trainableParameters(h.model())).toThrow(/16-bit/);
  });
});

import { describe, expect, it } from 'vitest';
import { parsePrecision } from './precision.js';

describe('parsePrecision', () => {
  it('reads bits of weights and of activations', () => {
    expect(parsePrecision('w4a8')).toEqual({ weights: 4, activations: 8 });
    expect(parsePrecision('w2a4')).toEqual({ weights: 2, activations: 4 });
    expect(parsePrecision('w4')).toEqual({ weights: 4, activations: undefined });
  });

  it.each(['int8', 'w5a8', 'w4a', 'a8', 'w4a16', 'W4A4', ''])('refuses %s, and says how to write one', (name) => {
    expect(() => parsePrecision(name)).toThrow(/write w4a8/);
  });
});

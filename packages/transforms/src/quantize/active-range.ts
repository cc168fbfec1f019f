import type { Node, Value } from '@pare/core';
import { constantSource } from './constant-source.js';
import type { RealRange } from './params.js';
import { clipBounds } from './placement.js';

const EVERYTHING: RealRange = { lo: Number.NEGATIVE_INFINITY, hi: Number.POSITIVE_INFINITY };
/** Beyond this, a sigmoid is within half a step of an 8-bit output of 0 or 1. */
const SIGMOID_FLAT = 6.5;

/**
 * The part of the real line on which the answer of what reads `value` still changes. An activation function that is flat
 * below -3 (HardSwish) needs no integers for -10: leaving them out makes all other steps finer. Clipping a range to it changes
 * nothing with piecewise linear functions, and less than half a step with sigmoids.
 */
export function activeRange(value: Value): RealRange {
  if (value.isGraphOutput || value.uses.size === 0) return EVERYTHING;
  const parts = value.consumers.map((node) => (node.graph === value.graph ? activeFor(node, value) : EVERYTHING));
  return { lo: Math.min(...parts.map((p) => p.lo)), hi: Math.max(...parts.map((p) => p.hi)) };
}

function activeFor(node: Node, value: Value): RealRange {
  if (node.domain !== '' || node.inputs[0] !== value) return node.is('Mul') ? gated(node, value) : EVERYTHING;
  switch (node.opType) {
    case 'Relu':
    case 'Clip': {
      const bounds = clipBounds(node);
      return bounds ? { lo: bounds.low, hi: bounds.high } : EVERYTHING;
    }
    case 'HardSigmoid': {
      const alpha = node.float('alpha', 0.2);
      const beta = node.float('beta', 0.5);
      return alpha > 0 ? { lo: -beta / alpha, hi: (1 - beta) / alpha } : EVERYTHING;
    }
    case 'HardSwish':
      return { lo: -3, hi: Number.POSITIVE_INFINITY };
    case 'Sigmoid':
      return { lo: -SIGMOID_FLAT, hi: SIGMOID_FLAT };
    case 'Mul':
      return gated(node, value);
    default:
      return EVERYTHING;
  }
}

/** x * gate(x): nothing comes through where the gate is closed (SiLU, and HardSwish in two nodes). */
function gated(node: Node, value: Value): RealRange {
  const other = node.inputs[node.inputs[0] === value ? 1 : 0];
  const gate = other?.producer;
  if (!gate || constantSource(other) || gate.inputs[0] !== value) return EVERYTHING;
  if (!gate.is('Sigmoid') && !gate.is('HardSigmoid')) return EVERYTHING;
  return { lo: activeFor(gate, value).lo, hi: Number.POSITIVE_INFINITY };
}

import type { Node } from '@pare/core';
import type { ChannelRule } from '../channel-op.js';
import { attentions } from './attention.js';
import { convolution } from './conv.js';
import { elementwise } from './elementwise.js';
import { normalization } from './normalization.js';
import { pooling } from './pooling.js';
import { products } from './product.js';
import { recurrence } from './recurrent.js';
import { reshaping } from './reshape.js';
import { selection } from './selection.js';

const RULES = new Map(
  Object.entries({
    ...elementwise,
    ...convolution,
    ...products,
    ...normalization,
    ...pooling,
    ...reshaping,
    ...selection,
    ...recurrence,
    ...attentions,
  }),
);

/** The rule for the operator of `node`, if there is one. */
export function channelRule(node: Node): ChannelRule | undefined {
  return RULES.get(node.domain && node.domain !== 'ai.onnx' ? `${node.domain}.${node.opType}` : node.opType);
}

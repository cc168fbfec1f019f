import type { Rule, RuleTable } from '../op.js';
import { constants } from './constant.js';
import { convolution } from './conv.js';
import { elementwise } from './elementwise.js';
import { gathering } from './gather.js';
import { product } from './matmul.js';
import { normalization } from './normalization.js';
import { reduction } from './reduction.js';
import { reshaping } from './reshape.js';
import { slicing } from './slice.js';

/** Rules by domain; one row an operator. */
export const RULES: Readonly<Record<string, RuleTable>> = {
  '': {
    ...elementwise,
    ...convolution,
    ...product,
    ...reshaping,
    ...slicing,
    ...gathering,
    ...constants,
    ...reduction,
    ...normalization,
  },
};

const table = new Map<string, Rule>();
for (const [domain, rules] of Object.entries(RULES)) {
  for (const [name, rule] of Object.entries(rules)) table.set(`${domain}:${name}`, rule);
}

/** The rule of operator `name` of `domain` ('' is the default one), if there is one. */
export function ruleFor(domain: string, name: string): Rule | undefined {
  return table.get(`${domain}:${name}`);
}

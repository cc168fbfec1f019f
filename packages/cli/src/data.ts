import { type Dataset, type Metric, metricByName } from '@pare/verify';
import { openData } from '@pare/verify/node';
import { importModule } from './config.js';

export interface DataFlags {
  readonly data?: string;
  readonly preprocess?: string;
  readonly metric?: string;
}

/** The dataset at `path`; modules may be TypeScript. */
export const loadData = (path: string, preprocess?: string): Promise<Dataset> =>
  openData(path, { preprocess, importModule });

/** A metric by name, or the default export of a TypeScript module. */
export async function loadMetric(name: string): Promise<Metric> {
  return /\.[mc]?[jt]s$/.test(name) ? ((await importModule(name)) as Metric) : metricByName(name);
}

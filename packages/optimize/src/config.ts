import type { Dataset, Gates, Metric } from '@pare/verify';
import type { Goal } from './goal.js';
import type { TargetName } from './targets/profile.js';

/** What `pare.config.ts` exports as its default: the main job, written down. Paths are relative to the file. */
export interface PareConfig {
  /** ONNX file. */
  readonly model: string;
  /** Labelled samples: a path (`.npz`, `.jsonl`, a folder of images), or a Dataset of your own. */
  readonly data?: string | Dataset;
  /** Samples for calibration; default: taken from `data`, and then not scored. */
  readonly calibration?: string | Dataset;
  /** Samples to train on where quantizing fails the gates; none of `data`. Default: nothing is trained. */
  readonly train?: string | Dataset;
  /** Passes over them. Default 2. */
  readonly trainEpochs?: number;
  /** How pictures become tensors: a preprocessing file. */
  readonly preprocess?: string;
  /** Default: chosen by the labels and the output. */
  readonly metric?: string | Metric;
  /** Default `node-cpu`. */
  readonly target?: TargetName;
  readonly gates?: Gates;
  /** Default `latency`. */
  readonly goal?: Goal;
  /** Shapes (null leaves a dimension free) and named dimensions to fix in the model before anything else. */
  readonly fixShapes?: Readonly<Record<string, readonly (number | null)[]>>;
  readonly fixDims?: Readonly<Record<string, number>>;
  /** Folder for the result. Default `dist`. */
  readonly output?: string;
  readonly layout?: 'pare' | 'hf';
  /** Time for the latency of each variant, ms. Default 3000. */
  readonly budgetMs?: number;
  /** Intra-op threads of every measurement. Default 1. */
  readonly threads?: number;
  /** Seed of splits and random inputs. Default 1. */
  readonly seed?: number;
}

/** Gives `config` its type: `export default defineConfig({ ... })`. */
export const defineConfig = (config: PareConfig): PareConfig => config;

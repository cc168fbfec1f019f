import type { Span } from '../parameter-layout.js';
import type { ParameterStore } from '../parameters.js';

/** What an update is told, the same for all parameters. */
export interface UpdateStep {
  /** The number of this update, from 1. */
  readonly step: number;
  readonly learningRate: number;
  /** Factor on every gradient: the mean over micro-batches, and clipping. */
  readonly gradientScale: number;
}

/**
 * A rule that turns gradients into new values. It holds no state: that is in buffers of the store, named here, and the number
 * of the step is the caller's.
 */
export interface Optimizer {
  readonly name: string;
  /** Names of the flat buffers of the store that it keeps between steps. */
  readonly buffers: readonly string[];
  /** Updates one span in place. */
  update(store: ParameterStore, span: Span, step: UpdateStep): void;
}

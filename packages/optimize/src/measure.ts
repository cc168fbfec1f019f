import { type Engine, PareError } from '@pare/core';
import { wasmEngine } from '@pare/core/node';
import { type Gates, type Verified, type VerifyModel, type VerifyOptions, verify } from '@pare/verify';
import { freshProcess } from '@pare/verify/node';
import type { Target } from './targets/profile.js';

/** What was measured, and on what. */
export interface Measured {
  readonly verified: Verified;
  /** Name of the engine that ran everything, for the evidence. */
  readonly engine: string;
}

/** @throws PareError `bad-option` for what cannot be measured of `target`: said before the work, not after it. */
export function refuseUnmeasurable(target: Target, threads: number, gates: Gates): void {
  const { runtime, noSpeed } = target.measurement;
  if (runtime === 'wasm' && threads > 1) {
    throw new PareError(
      'bad-option',
      `${target.name} is measured on one thread, not on ${threads}: leave threads out.`,
    );
  }
  if (noSpeed && gates.maxP95Ms !== undefined) {
    throw new PareError('bad-option', `${noSpeed}, so a gate on p95 cannot be checked: leave it out.`);
  }
}

/** What readers of the numbers must know, the most serious first. */
export function measurementCaveats({ measurement: { noSpeed, caveats } }: Target): string[] {
  const size = 'What is recommended is the smallest variant that holds the gates; it can be slower than the original.';
  return noSpeed ? [`Speed was not measured: ${noSpeed}. ${size}`, ...caveats] : [...caveats];
}

/**
 * Verifies `variants` against `original` on the engine that stands in for `target`, and leaves out what that engine cannot say
 * of it. `native` is the engine for targets that run natively.
 */
export async function measureFor(
  target: Target,
  native: Engine,
  original: VerifyModel,
  variants: readonly VerifyModel[],
  options: VerifyOptions,
): Promise<Measured> {
  const { runtime, noSpeed, noSaturation } = target.measurement;
  const { threads = 1, signal } = options;
  const engine = runtime === 'wasm' ? wasmEngine() : native;
  try {
    const verified = await verify(engine, original, variants, {
      ...options,
      ...(runtime === 'wasm' ? { threadCounts: [] } : {}),
      skip: noSpeed ? ['performance'] : [],
      noSaturation,
      fresh: ({ model, sessionConfig = {} }, feeds) =>
        freshProcess(model, feeds, { threads, config: sessionConfig, runtime, signal }),
    });
    return { verified, engine: engine.name };
  } finally {
    if (engine !== native) await engine.close();
  }
}

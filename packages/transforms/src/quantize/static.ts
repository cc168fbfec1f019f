import {
  type Engine,
  type Feeds,
  type Model,
  type Node,
  PareError,
  type Transform,
  type TransformContext,
  type TransformResult,
  type Value,
} from '@pare/core';
import { upgrade } from '../upgrade-opset.js';
import { absorbFactors } from './absorb-factors.js';
import { activeRange } from './active-range.js';
import { calibrate } from './calibrate.js';
import type { CalibrationMethod, CalibrationOptions } from './calibration/index.js';
import type { Calibration } from './calibration-result.js';
import { chooseMethod } from './choose-method.js';
import { constantSource } from './constant-source.js';
import type { InputStatistics } from './pair-guard.js';
import { integerRange, type RealRange } from './params.js';
import { type PlacedNode, type Placement, type PlacementOptions, place } from './placement.js';
import type { ActivationType, Affine } from './qdq.js';
import { toQOperator } from './qoperator.js';
import { rewriteQdq } from './rewrite.js';
import type { SaturationGuard } from './static-weights.js';

/** Options of `quantizeStatic`. */
export interface QuantizeStaticOptions extends PlacementOptions, CalibrationOptions {
  /** Calibration data: one pass (two for `auto`, which must then be iterable twice). Or give `calibration`. */
  readonly samples?: AsyncIterable<Feeds> | Iterable<Feeds> | undefined;
  /** What `calibrate` learnt of this model. */
  readonly calibration?: Calibration | undefined;
  /**
   * How ranges follow from the calibration data. Default `auto`: the method whose result is nearest to the float model on the
   * calibration samples themselves; or, with `calibration`, the one that it was made for.
   */
  readonly method?: CalibrationMethod | 'auto' | undefined;
  /** Type of activations. Default `uint8`. 16-bit types compute in float. */
  readonly activations?: ActivationType | undefined;
  /** Zero point in the middle of the range, as some accelerators ask. Default false. */
  readonly symmetric?: boolean | undefined;
  /** Type of weights, always symmetric. Default `int8`. */
  readonly weights?: 'int8' | 'uint8' | undefined;
  /** One scale for each output channel instead of one a tensor. Default true. */
  readonly perChannel?: boolean | undefined;
  /** How weights keep clear of saturating kernels (see SaturationGuard). Default `pairs`, which is safe on every processor. */
  readonly guard?: SaturationGuard | ((node: Node) => SaturationGuard) | undefined;
  /** Search the weight clip of least squared error for each channel. Default true. */
  readonly clipSearch?: boolean | undefined;
  /** Take the mean error of rounded weights out of the biases. Default true. */
  readonly biasCorrection?: boolean | undefined;
  /** `qdq` (portable, ONNX Runtime fuses it) or `qoperator` (QLinearConv, ...). Default `qdq`. */
  readonly format?: 'qdq' | 'qoperator' | undefined;
  /** Threads of the runtime while calibrating; 0 lets it choose. Default 0. */
  readonly threads?: number | undefined;
}

/**
 * Static quantization: activations and weights become 8-bit integers whose scales are fixed from calibration data, and Conv,
 * Gemm and MatMul (with what lies between them) compute in integers. Default: QDQ form, uint8 activations, int8 weights with
 * one scale a channel, ranges by the best method, bias correction, weights safe from 16-bit saturation.
 *
 * Weights may be initializers, Constant nodes, or behind Identity; tied weights stay tied. The model should be simplified
 * first, so that BatchNormalization is folded into Conv. Graph inputs and outputs keep names and float types. Models below
 * opset 13 are upgraded. Integer weights are computed again when the model is written: memory stays bounded.
 * @throws PareError `unsupported` for combinations that no kernel computes and for opsets below 10 that cannot be upgraded;
 *   `bad-option` without samples or engine; `bad-data` and others of `calibrate`.
 */
export function quantizeStatic(options: QuantizeStaticOptions): Transform {
  refuseCombination(options);
  return { name: 'quantizeStatic', apply: (model, context) => apply(model, options, context) };
}

/** Before any calibration, which may take long. */
function refuseCombination({
  activations = 'uint8',
  weights = 'int8',
  format,
  samples,
  calibration,
}: QuantizeStaticOptions): void {
  if (activations === 'int8' && weights === 'uint8') {
    throw new PareError(
      'unsupported',
      'No kernel of ONNX Runtime multiplies int8 activations with uint8 weights. Take int8 weights, or uint8 activations.',
    );
  }
  if (format === 'qoperator' && activations.endsWith('16')) {
    throw new PareError('unsupported', `The operators of format qoperator take 8-bit activations, not ${activations}.`);
  }
  if (!samples && !calibration) {
    throw new PareError('bad-option', 'Static quantization needs calibration data: give `samples` or `calibration`.');
  }
}

async function apply(
  model: Model,
  options: QuantizeStaticOptions,
  context: TransformContext,
): Promise<TransformResult> {
  const { notes, domain } = prepareOpset(model, options);
  notes.push(...absorbFactors(model));
  const placement = place(model, options);
  const compute = placement.nodes.filter(({ rule }) => rule.kind === 'compute');
  if (compute.length === 0) {
    return {
      changed: 0,
      notes: [...notes, ...placement.refusals, 'No node can compute in integers; nothing was done.'],
    };
  }
  const calibration = options.calibration ?? (await collect(model, options, context));
  let { method, options: parameters } = calibration;
  if (options.method && options.method !== 'auto') {
    method = options.method;
    parameters = options;
  } else if (!options.calibration && options.samples) {
    const engine = engineOf(context);
    const trial = async (m: CalibrationMethod, p: CalibrationOptions): Promise<Model> => {
      const copy = model.clone();
      await rewrite(copy, place(copy, options), calibration.with(m, p), options, domain);
      return copy;
    };
    const choice = await chooseMethod(model, options.samples, trial, {
      engine,
      signal: context.signal,
      threads: options.threads,
    });
    ({ method, parameters } = choice);
    notes.push(choice.note);
  }
  notes.push(...describe(placement, options), ...placement.refusals);
  notes.push(...(await rewrite(model, placement, calibration.with(method, parameters), options, domain)));
  return { changed: placement.nodes.length, notes };
}

function engineOf({ engine }: TransformContext): Engine {
  if (engine) return engine;
  throw new PareError(
    'bad-option',
    'Calibration runs the model: pass an engine, as in model.transform(..., { engine }).',
  );
}

/** Calibrates with histograms, from which every method can be derived. */
function collect(model: Model, options: QuantizeStaticOptions, context: TransformContext): Promise<Calibration> {
  const { samples = [], method = 'auto' } = options;
  const total = Array.isArray(samples) ? samples.length : Number.NaN;
  return calibrate(model, samples, {
    ...options,
    method: method === 'auto' ? 'mse' : method,
    engine: engineOf(context),
    channels: options.biasCorrection !== false || options.guard === undefined || options.guard !== 'none',
    signal: context.signal,
    onProgress: (done) => context.onProgress?.('calibrate', done, total),
  });
}

/** Rewrites `model` under a calibration whose method is decided. */
async function rewrite(
  model: Model,
  placement: Placement,
  calibration: Calibration,
  options: QuantizeStaticOptions,
  domain: string,
): Promise<string[]> {
  const { activations = 'uint8', symmetric = false, weights = 'int8', perChannel = true, clipSearch = true } = options;
  const target = { ...integerRange(activations, { symmetric }), symmetric };
  const notes = await rewriteQdq(model, {
    placement,
    activations,
    symmetric,
    scheme: (placed) => ({ dtype: weights, perChannel, search: clipSearch, guard: guardOf(placed, options) }),
    range: (owner: Value): RealRange => {
      const { lo, hi } = calibration.range(owner.name, target);
      const active = symmetric ? { lo, hi } : activeRange(owner);
      return { lo: Math.max(lo, active.lo), hi: Math.min(hi, active.hi) };
    },
    statistics: (value: Value, affine: Affine) => statisticsOf(calibration, value, affine),
    means: (value: Value) =>
      options.biasCorrection === false ? undefined : calibration.channels.get(value.name)?.mean,
    domain,
  });
  if (options.format === 'qoperator') notes.push(...toQOperator(model));
  return notes;
}

/** The guard that `placed` really needs. */
function guardOf({ node, weight }: PlacedNode, options: QuantizeStaticOptions): SaturationGuard {
  const { guard = 'pairs', activations = 'uint8', weights = 'int8', perChannel = true } = options;
  // u8u8 kernels widen to 16 bits before they multiply, and 16-bit activations compute in float.
  if (weights === 'uint8' || activations.endsWith('16')) return 'none';
  // One product a channel and position: the depthwise kernel sums in 32 bits.
  if (node.is('Conv') && weight?.tensor.dims[1] === 1 && weight.tensor.dims[0] === node.int('group', 1)) return 'none';
  const wanted = typeof guard === 'function' ? guard(node) : guard;
  return wanted === 'pairs' && !perChannel ? 'reduced' : wanted;
}

/** Unseen data may reach a little further than what calibration saw. */
const PEAK_MARGIN = 1.05;

function statisticsOf({ channels }: Calibration, value: Value, { dtype, scale, zeroPoint }: Affine): InputStatistics {
  const seen = channels.get(value.name);
  if (!seen) return {};
  const { qmin } = integerRange(dtype, { symmetric: false });
  const integer = (real: number): number => Math.round((real * PEAK_MARGIN) / scale) + zeroPoint - qmin;
  return { peak: seen.max.map((m) => Math.min(255, Math.max(1, integer(m)))) };
}

/** Brings the model to opset 13 where axes of scales need it; says which domain the quantization operators must be of. */
function prepareOpset(
  model: Model,
  { perChannel = true, activations = 'uint8' }: QuantizeStaticOptions,
): { notes: string[]; domain: string } {
  const wide = activations.endsWith('16');
  const notes: string[] = [];
  const before = model.opset;
  if (before < 10 || (before < 13 && perChannel)) {
    try {
      upgrade(model.clone(), 13);
      notes.push(...upgrade(model, 13).notes);
    } catch (error) {
      if (!(error instanceof PareError) || before < 10) {
        const why = error instanceof Error ? error.message : String(error);
        throw new PareError(
          'unsupported',
          `Static quantization needs opset 10 or newer; the model is opset ${before}, and ${why}`,
        );
      }
      notes.push(
        `Scales a channel need opset 13, the model is opset ${before} (${error.message}): quantization operators are those of com.microsoft.`,
      );
    }
  }
  const needed = wide ? 21 : perChannel ? 13 : 10;
  if (wide && model.opset < 21)
    notes.push(
      `16-bit types need opset 21, the model is opset ${model.opset}: quantization operators are those of com.microsoft.`,
    );
  return { notes, domain: model.opset < needed ? 'com.microsoft' : '' };
}

/** One sentence for each node that multiplies, one for all of a kind that lie between. */
function describe({ nodes }: Placement, options: QuantizeStaticOptions): string[] {
  const { activations = 'uint8', weights = 'int8', perChannel = true } = options;
  const notes: string[] = [];
  const between = new Map<string, number>();
  for (const placed of nodes) {
    const { node, rule, weight } = placed;
    if (rule.kind !== 'compute') between.set(node.opType, (between.get(node.opType) ?? 0) + 1);
    else if (!weight) notes.push(`${node.label}: ${activations} times ${activations}.`);
    else {
      const guard = guardOf(placed, options);
      const safe = guard === 'none' ? '' : guard === 'pairs' ? ', pairs kept within 16-bit sums' : ', 7 bits';
      const constant = constantSource(node.inputs[1])?.root.producer
        ? ' (a Constant, treated as the initializer it is)'
        : '';
      notes.push(
        `${node.label}: ${activations} times ${weights}, a scale ${perChannel ? 'a channel' : 'a tensor'}${safe}${constant}.`,
      );
    }
  }
  for (const [opType, count] of between) notes.push(`${opType}: ${count} between integer nodes stay in integers.`);
  return notes;
}

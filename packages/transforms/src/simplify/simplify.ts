import {
  type Model,
  PareError,
  type Transform,
  type TransformContext,
  type TransformResult,
  throwIfAborted,
  topologicalSort,
} from '@pare/core';
import { fuseAffineAfterWeights, fuseAffineBeforeWeights } from '../fuse/absorb.js';
import { fuseActivations } from '../fuse/activations.js';
import { mergeArithmetic } from '../fuse/arithmetic.js';
import { mergeChains } from '../fuse/chains.js';
import { mergeClips } from '../fuse/clip.js';
import { fuseGemm } from '../fuse/gemm.js';
import { fuseNormalizations } from '../fuse/normalization.js';
import { fusePad } from '../fuse/pad.js';
import { mergeReshapes } from '../fuse/reshapes.js';
import { eliminateCommonSubexpressions } from './common-subexpressions.js';
import { constantsToInitializers } from './constants.js';
import { eliminateDeadCode } from './dead-code.js';
import { dropDefaultInputs } from './default-inputs.js';
import { type FixedShapes, fixShapes } from './fix-shapes.js';
import { foldConstants } from './fold-constants.js';
import { foldShapes, reshapeByConstant, shareShapes } from './fold-shapes.js';
import { initializersOutOfInputs } from './initializer-inputs.js';
import { inlineConstantIf, inlineFunctions } from './inline.js';
import { learn } from './knowledge.js';
import { eliminateNoOps } from './no-ops.js';
import type { Pass, PassContext, PassResult } from './rewrite.js';
import { shareInitializers } from './shared-initializers.js';

/** Options of `simplify`. */
export interface SimplifyOptions extends FixedShapes {
  /**
   * Bytes that computing one constant in advance may add to the model (in all: that, or an eighth of its constants). Default
   * 1 MiB: masks and tables are computed, weights that an exporter wrote as a formula stay one.
   */
  readonly maxFoldBytes?: number | undefined;
  /** Replaces calls of the model's own functions by their bodies. Default false. */
  readonly inlineFunctions?: boolean | undefined;
  /** Names of passes to leave out; `simplifyPasses` lists them. */
  readonly skip?: readonly string[] | undefined;
}

/** More rounds than any model needs: a guard against passes that undo each other. */
const MAX_ROUNDS = 50;

/** What most models need, for progress. */
const USUAL_ROUNDS = 4;

/** Before this opset operators mean other things: broadcasting had to be asked for. */
const FIRST_OPSET = 7;
const ANY_OPSET: ReadonlySet<string> = new Set([
  'constants-to-initializers',
  'eliminate-common-subexpressions',
  'eliminate-dead-code',
  'initializers-out-of-inputs',
  'share-initializers',
]);

/** The passes of `simplify`, in the order of a round. */
export function simplifyPasses(options: SimplifyOptions = {}): Pass[] {
  return [
    initializersOutOfInputs(),
    constantsToInitializers(),
    inlineConstantIf(),
    foldShapes(),
    eliminateNoOps(),
    dropDefaultInputs(),
    reshapeByConstant(),
    shareShapes(),
    foldConstants(options),
    shareInitializers(),
    eliminateCommonSubexpressions(),
    mergeReshapes(),
    mergeChains(),
    mergeClips(),
    fuseActivations(),
    mergeArithmetic(),
    fusePad(),
    fuseGemm(),
    fuseAffineAfterWeights(),
    fuseAffineBeforeWeights(),
    fuseNormalizations(),
    eliminateDeadCode(),
  ];
}

/**
 * Makes the graph smaller without changing what it computes beyond rounding: its passes run in rounds until none finds
 * anything. Inputs and outputs keep their names, order and types. With an engine in the context, constant expressions are
 * computed too.
 */
export function simplify(options: SimplifyOptions = {}): Transform {
  return { name: 'simplify', apply: (model, context) => apply(model, options, context) };
}

/** @throws PareError `bad-option` for a name that no pass has. */
function skippedPasses(options: SimplifyOptions): Set<string> {
  const names = simplifyPasses(options).map((pass) => pass.name);
  for (const name of options.skip ?? []) {
    if (names.includes(name)) continue;
    throw new PareError('bad-option', `There is no pass "${name}" to skip; there are ${names.join(', ')}.`);
  }
  return new Set(options.skip);
}

async function apply(model: Model, options: SimplifyOptions, context: TransformContext): Promise<TransformResult> {
  const skipped = skippedPasses(options);
  const notes: string[] = [];
  let changed = 0;
  const first = [fixShapes(options), ...(options.inlineFunctions ? [inlineFunctions()] : [])];
  for (const pass of first) {
    const result = await pass.apply(model, context);
    changed += result.changed;
    notes.push(...result.notes, ...result.refusals);
  }
  topologicalSort(model.graph);
  const isOld = model.opset < FIRST_OPSET;
  if (isOld)
    notes.push(`The model is opset ${model.opset}: before ${FIRST_OPSET} only what is unused or doubled goes.`);
  const passes = simplifyPasses(options).filter(({ name }) => !skipped.has(name) && (!isOld || ANY_OPSET.has(name)));
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const knowledge = learn(model);
    const result = await runRound(model, passes, { ...context, knowledge }, round);
    changed += result.changed;
    for (const note of result.notes) notes.push(note);
    if (result.changed > 0) continue;
    // What the last round left alone is left alone for good.
    notes.push(...new Set(result.refusals));
    if (changed > 0) knowledge.annotate();
    break;
  }
  return { changed, notes };
}

async function runRound(
  model: Model,
  passes: readonly Pass[],
  context: PassContext,
  round: number,
): Promise<PassResult> {
  let changed = 0;
  const notes: string[] = [];
  const refusals: string[] = [];
  const steps = Math.max(round + 1, USUAL_ROUNDS) * passes.length;
  for (const [i, pass] of passes.entries()) {
    throwIfAborted(context.signal);
    const result = await pass.apply(model, context);
    changed += result.changed;
    for (const note of result.notes) notes.push(note);
    for (const refusal of result.refusals) refusals.push(refusal);
    context.onProgress?.('simplify', round * passes.length + i + 1, steps);
  }
  return { changed, notes, refusals };
}

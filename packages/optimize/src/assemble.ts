import {
  type DataInfo,
  EVIDENCE_SCHEMA,
  type Evidence,
  type HostInfo,
  type ModelInfo,
  type RefusedVariant,
  type RepeatInfo,
  type RunOptions,
  type TrainingEvidence,
  type VariantEvidence,
  type Verified,
} from '@pare/verify';
import type { Goal } from './goal.js';
import { judge } from './judge.js';

/** What the caller knows beside what was measured. */
export interface EvidenceParts {
  readonly model: ModelInfo;
  readonly data: DataInfo;
  readonly host: HostInfo;
  readonly options: RunOptions;
  readonly repeat: RepeatInfo;
  /** Variants that never came to be measured. */
  readonly refused?: readonly RefusedVariant[];
  readonly warnings?: readonly string[];
  /** How variants learned. */
  readonly training?: readonly TrainingEvidence[];
  /** Default `latency`; null: only the gates count. */
  readonly goal?: Goal | null;
}

/** Judges what was measured and puts the evidence of a run together. */
export function assembleEvidence(verified: Verified, parts: EvidenceParts): Evidence {
  const { verdicts, recommendation } = judge(verified.variants, parts.options.gates, parts.goal);
  return {
    schema: EVIDENCE_SCHEMA,
    createdAt: new Date().toISOString(),
    model: parts.model,
    data: parts.data,
    host: parts.host,
    options: parts.options,
    variants: verified.variants.map((v, i) => ({ ...v, verdict: verdicts[i] as VariantEvidence['verdict'] })),
    refused: [...(parts.refused ?? []), ...verified.refused],
    ...(parts.training && parts.training.length > 0 ? { training: parts.training } : {}),
    recommendation,
    repeat: parts.repeat,
    warnings: [...new Set([...(parts.warnings ?? []), ...verified.warnings, ...parts.data.warnings])],
  };
}

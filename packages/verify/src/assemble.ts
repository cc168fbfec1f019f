import {
  type DataInfo,
  EVIDENCE_SCHEMA,
  type Evidence,
  type HostInfo,
  type ModelInfo,
  type RefusedVariant,
  type RepeatInfo,
  type RunOptions,
} from './evidence.js';
import { recommend, withRecommendation } from './judge.js';
import type { Verified } from './verify.js';

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
  /** Default now. */
  readonly createdAt?: Date;
}

/** Puts together the evidence of a run, with the recommendation. */
export function assembleEvidence(verified: Verified, parts: EvidenceParts): Evidence {
  const recommendation = recommend(verified.variants);
  return {
    schema: EVIDENCE_SCHEMA,
    createdAt: (parts.createdAt ?? new Date()).toISOString(),
    model: parts.model,
    data: parts.data,
    host: parts.host,
    options: parts.options,
    variants: withRecommendation(verified.variants, recommendation),
    refused: [...(parts.refused ?? []), ...verified.refused],
    recommendation,
    repeat: parts.repeat,
    warnings: [...new Set([...verified.warnings, ...(parts.warnings ?? []), ...parts.data.warnings])],
  };
}

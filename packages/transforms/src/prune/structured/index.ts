export type { ChannelScore, ScoreOptions } from './channel-score.js';
export type { CountOptions } from './cost.js';
export type { ChannelGoal, GoalOptions } from './goal.js';
export {
  type ChannelGroup,
  type ChannelGroups,
  type ChannelGroupsOptions,
  type ChannelInput,
  type ChannelMember,
  channelGroups,
  type Removal,
  removeChannels,
} from './groups.js';
export type { ObserveOptions, Samples } from './observe.js';
export * from './prune-channels.js';
export type { KeepOptions, Ranking } from './ranking.js';
export { type ReconstructOptions, reconstructChannels } from './reconstruct.js';
export { type ReestimateOptions, reestimateBatchNorm } from './reestimate-batch-norm.js';
export type { ChannelScorer, UnitScores, WeightReader } from './score.js';

export type { ChannelScore, ScoreOptions } from './channel-score.js';
export type { CountOptions } from './cost.js';
export type { ChannelGoal, GoalOptions } from './goal.js';
export * from './groups.js';
export * from './prune-channels.js';
export type { KeepOptions, Ranking } from './ranking.js';
export type { ChannelScorer, UnitScores, WeightReader } from './score.js';

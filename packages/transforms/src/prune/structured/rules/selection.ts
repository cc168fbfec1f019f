import type { ChannelRules } from '../channel-op.js';

export const selection: ChannelRules = {};

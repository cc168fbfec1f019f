export type { Difference } from './difference.js';
export { type Equivalence, type EquivalenceOptions, equivalent, type OutputDifference } from './equivalent.js';

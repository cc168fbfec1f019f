export { EXIT } from './command.js';
export type { BenchReport } from './commands/bench.js';
export type { InspectReport } from './commands/inspect.js';
export type { QuantizeReport } from './commands/quantize.js';
export type { SimplifyReport } from './commands/simplify.js';
export { main } from './main.js';
export type { Terminal } from './terminal.js';

import type { Evidence, VariantEvidence } from '@pare/verify';
import { EXIT } from '../command.js';
import { bytes, columns } from '../format.js';
import type { Register } from '../main.js';
import { parseMs } from '../parse.js';
import type { Terminal } from '../terminal.js';
import { measure } from './verify.js';

interface Flags {
  readonly data?: string;
  readonly threads?: string;
  readonly time?: string;
  readonly json?: boolean;
}

/** `pare bench`: latency alone. */
export const bench: Register = (program, run) => {
  program
    .command('bench')
    .description('latency of models side by side: interleaved rounds, percentiles, an interval on the ratio')
    .argument('<models...>', 'ONNX files; the first is what the others are compared with')
    .option('--data <path>', 'samples to run on (default: random inputs)')
    .option('--threads <n>', 'threads (default: 1)')
    .option('--time <time>', 'time for each model, for example 10s (default: 3s)')
    .option('--json', 'print the measurements as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ pare bench model.onnx model.int8.onnx\n  $ pare bench a.onnx b.onnx c.onnx --time 10s --threads 2 --json',
    )
    .action((models: string[], flags: Flags) =>
      run(async (context) => {
        const [original = '', ...variants] = models;
        const { time, ...rest } = flags;
        const budget = time === undefined ? {} : { budgetMs: parseMs(time, '--time') };
        const skip = ['evaluation', 'layers', 'stability', 'saturation'] as const;
        const evidence = await measure(original, variants, { ...rest, ...budget }, skip, context);
        context.terminal.out(
          flags.json ? JSON.stringify(benchReport(evidence), null, 2) : table(evidence, context.terminal),
        );
        for (const { name, reason } of evidence.refused) context.terminal.err(`${name}: ${reason}`);
        return evidence.refused.length === 0 ? EXIT.ok : EXIT.badInput;
      }),
    );
};

/** What `pare bench --json` prints. */
const benchReport = ({ host, options, variants }: Evidence) => ({
  host,
  threads: options.threads,
  models: variants.map(({ name, bytes: size, files, performance }) => ({
    name,
    file: files[0],
    bytes: size,
    performance,
  })),
});

function table({ variants, host, options }: Evidence, { style }: Terminal): string {
  const ms = (n: number): string => n.toFixed(n < 10 ? 3 : 1);
  const rows = variants.map((v) => {
    const p = v.performance;
    if (!p) return [fileOf(v)];
    const { p50, p90, p95, p99 } = p.latency;
    const fresh = p.freshProcess;
    return [
      fileOf(v),
      bytes(v.bytes),
      ...[p50, p90, p95, p99].map(ms),
      p.speedup
        ? `${p.speedup.ratio.toFixed(2)}x (${p.speedup.interval.low.toFixed(2)}..${p.speedup.interval.high.toFixed(2)})`
        : '1',
      ms(p.coldStart.loadMs),
      fresh ? bytes(fresh.peakBytes) : '',
    ];
  });
  const head = ['model', 'size', 'p50 ms', 'p90', 'p95', 'p99', 'speed', 'load ms', 'peak memory'];
  const verdicts = variants
    .filter((v) => v.performance?.speedup)
    .map((v) => `${fileOf(v)}: ${v.performance?.speedup?.verdict}`);
  const where = `${host.cpu}, ${options.threads} thread${options.threads === 1 ? '' : 's'}, ${host.engine}`;
  return [columns([head, ...rows]), '', ...verdicts, style('dim', where)].join('\n');
}

const fileOf = (variant: VariantEvidence): string => variant.files[0] ?? variant.name;

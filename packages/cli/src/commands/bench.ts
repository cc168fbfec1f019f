import type { Evidence, HostInfo, PerformanceEvidence, VariantEvidence } from '@pare/verify';
import { EXIT } from '../command.js';
import { bytes, columns } from '../format.js';
import { Job, type JobFlags } from '../job.js';
import type { Register } from '../main.js';
import { dataOptions, examples, jsonOption, measureOptions, withOptions } from '../options.js';
import type { Terminal } from '../terminal.js';
import { measure } from './verify.js';

interface Flags extends JobFlags {
  readonly json?: boolean;
}

/** What `pare bench --json` prints: `schemas/bench.schema.json`. */
export interface BenchReport {
  readonly schema: 'pare-bench/1.0';
  readonly host: HostInfo;
  readonly threads: number;
  /** In the order of the arguments; the first is what the others are compared with. */
  readonly models: readonly {
    readonly file: string;
    readonly bytes: number;
    readonly performance: PerformanceEvidence | null;
  }[];
}

/** `pare bench`: performance alone. */
export const bench: Register = (program, run) => {
  const command = program
    .command('bench')
    .summary('latency side by side, with percentiles')
    .description(
      'Measures models side by side in interleaved rounds: latency percentiles, the ratio to the first with its 95% interval, loading, ' +
        'and the peak memory of a process of its own.',
    )
    .argument('<models...>', 'ONNX files; the first is what the others are compared with');
  withOptions(
    command,
    dataOptions,
    measureOptions,
    jsonOption('the measurements'),
    examples('bench model.onnx int8.onnx', 'bench a.onnx b.onnx c.onnx --time 10s --threads 2 --json'),
  ).action((models: string[], flags: Flags) =>
    run(async (context) => {
      const [first = '', ...others] = models;
      const skip = ['evaluation', 'layers', 'stability', 'saturation'] as const;
      const evidence = await measure(first, others, Job.of(flags), skip, context);
      const { terminal } = context;
      for (const { name, reason } of evidence.refused) {
        terminal.err(`${terminal.errStyle('red', 'error')}: ${name} does not run. ${reason}`);
      }
      terminal.out(flags.json ? JSON.stringify(benchReport(evidence), null, 2) : table(evidence, terminal));
      return evidence.refused.length === 0 ? EXIT.ok : EXIT.badInput;
    }),
  );
};

const benchReport = ({ host, options, variants }: Evidence): BenchReport => ({
  schema: 'pare-bench/1.0',
  host,
  threads: options.threads,
  models: variants.map((v) => ({ file: fileOf(v), bytes: v.bytes, performance: v.performance })),
});

function table({ variants, host, options }: Evidence, { style }: Terminal): string {
  const ms = (n: number): string => n.toPrecision(3);
  const rows = variants.map((v) => {
    const p = v.performance;
    if (!p) return [fileOf(v)];
    const { p50, p90, p95, p99 } = p.latency;
    return [
      fileOf(v),
      bytes(v.bytes),
      ...[p50, p90, p95, p99].map(ms),
      p.speedup
        ? `${p.speedup.ratio.toFixed(2)}× (${p.speedup.interval.low.toFixed(2)}–${p.speedup.interval.high.toFixed(2)})`
        : '1',
      ms(p.coldStart.loadMs),
      p.freshProcess ? bytes(p.freshProcess.peakBytes) : '',
    ];
  });
  const [head = '', ...body] = columns([
    ['model', 'size', 'p50 ms', 'p90', 'p95', 'p99', 'speed', 'load ms', 'peak memory'],
    ...rows,
  ]).split('\n');
  const verdicts = variants.flatMap((v) =>
    v.performance?.speedup ? [[fileOf(v), v.performance.speedup.verdict]] : [],
  );
  const threads = `${options.threads} thread${options.threads === 1 ? '' : 's'}`;
  return [
    style('dim', head),
    ...body,
    '',
    ...verdicts.map(([file, verdict = '']) => `${file}: ${verdict}`),
    style('dim', `${host.cpu}, ${threads}, ${host.engine}`),
  ].join('\n');
}

const fileOf = (variant: VariantEvidence): string => variant.files[0] ?? variant.name;

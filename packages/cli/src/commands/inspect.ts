import { stat } from 'node:fs/promises';
import { readModel } from '@pare/core/node';
import {
  type Inspection,
  inspectModel,
  type PortSummary,
  previewSimplify,
  type TargetSupport,
  targetSupport,
} from '@pare/optimize';
import { EXIT } from '../command.js';
import { bytes, columns, count } from '../format.js';
import type { Register } from '../main.js';
import { collect, parseDims, parseShapes } from '../parse.js';
import type { Terminal } from '../terminal.js';

interface Flags {
  readonly fixShape?: string[];
  readonly fixDim?: string[];
  readonly json?: boolean;
}

/** What `pare inspect --json` prints. */
export interface InspectReport extends Inspection {
  readonly file: string;
  readonly fileBytes: number;
  /** What simplify would leave. */
  readonly simplified: { readonly nodes: number; readonly notes: readonly string[] };
  readonly targets: readonly TargetSupport[];
}

/** `pare inspect`. */
export const inspect: Register = (program, run) => {
  program
    .command('inspect')
    .description('what is in a model: inputs, bytes, multiply-accumulates, memory, and what each target cannot run')
    .argument('<model>', 'ONNX file')
    .option('--fix-shape <name=dims>', 'count with this input shape, for example image=1,3,224,224', collect)
    .option('--fix-dim <name=number>', 'count with this value of a named dimension, for example batch=8', collect)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ pare inspect model.onnx\n  $ pare inspect model.onnx --fix-dim batch=8 --json | jq .macs',
    )
    .action((file: string, flags: Flags) =>
      run(async ({ terminal, signal, engine }) => {
        const options = { inputShapes: parseShapes(flags.fixShape ?? []), dims: parseDims(flags.fixDim ?? []) };
        const model = await readModel(file, { signal });
        const inspection = inspectModel(model, options);
        const targets = targetSupport(model);
        const report: InspectReport = {
          file,
          fileBytes: (await stat(file)).size,
          ...inspection,
          simplified: await previewSimplify(model, { engine: engine(), signal }),
          targets,
        };
        terminal.out(flags.json ? JSON.stringify(report, null, 2) : describe(report, terminal));
        return EXIT.ok;
      }),
    );
};

function describe(report: InspectReport, { style }: Terminal): string {
  const title = (text: string): string => `\n${style('bold', text)}`;
  const port = (p: PortSummary): string =>
    `  ${p.name}  ${style('dim', `${p.dtype} [${p.dims?.map((d) => d ?? '?').join(', ') ?? '...'}]`)}`;
  const opsets = Object.entries(report.opsets).map(([domain, version]) => `${domain} ${version}`);
  const nodes = `${report.nodes} nodes${report.subgraphNodes ? ` and ${report.subgraphNodes} in subgraphs` : ''}`;
  const fewer = report.nodes + report.subgraphNodes - report.simplified.nodes;
  const lines = [
    `${style('bold', report.file)}  ${bytes(report.fileBytes)}`,
    style('dim', `${report.producer || 'unknown producer'}, IR ${report.irVersion}, opset ${opsets.join(', ')}`),
    title('inputs'),
    ...report.inputs.map(port),
    title('outputs'),
    ...report.outputs.map(port),
    title('size'),
    columns([
      ['  nodes', nodes],
      ['  parameters', count(report.parameters)],
      ['  weights', bytes(report.weightBytes)],
      ['  multiply-accumulates', report.macs === null ? 'unknown shapes' : count(report.macs)],
      ['  peak activations', bytes(report.activations.bytes)],
    ]),
    ...(report.assumedOne.length > 0
      ? [
          style(
            'yellow',
            `  counted with ${report.assumedOne.join(' = ')} = 1; say otherwise with --fix-dim or --fix-shape`,
          ),
        ]
      : []),
    ...(report.macsUnknown > 0
      ? [style('yellow', `  ${report.macsUnknown} nodes of unknown shape are not counted`)]
      : []),
    title('weights by type'),
    columns(Object.entries(report.dtypes).map(([dtype, n]) => [`  ${dtype}`, bytes(n)])),
    title('operators'),
    columns([
      ['  operator', 'nodes', 'weights', 'MACs'],
      ...report.operators
        .slice(0, 15)
        .map((o) => [`  ${o.operator}`, String(o.nodes), bytes(o.weightBytes), count(o.macs)]),
    ]),
    ...(report.operators.length > 15 ? [style('dim', `  and ${report.operators.length - 15} more`)] : []),
    title('largest tensors'),
    columns(
      report.largest.slice(0, 8).map((t) => [`  ${t.name}`, `${t.dtype} [${t.dims.join(', ')}]`, bytes(t.bytes)]),
    ),
    title('simplify'),
    fewer > 0 ? `  would leave ${report.simplified.nodes} nodes, ${fewer} fewer` : '  nothing to remove',
    title('targets'),
    ...report.targets.map((t) =>
      t.problems.length === 0
        ? `  ${style('green', '✓')} ${t.target}`
        : `  ${style('yellow', '!')} ${t.target}: ${t.problems.join('; ')}`,
    ),
  ];
  return lines.join('\n');
}

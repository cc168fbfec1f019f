import {
  type Inspection,
  inspectModel,
  type PortSummary,
  previewSimplify,
  type TargetSupport,
  targetSupport,
} from '@pare/optimize';
import { fixShapes } from '@pare/transforms';
import { visible } from '@pare/verify';
import { EXIT } from '../command.js';
import { bytes, columns, count } from '../format.js';
import { Job, type JobFlags } from '../job.js';
import type { Register } from '../main.js';
import { openModel } from '../models.js';
import { examples, jsonOption, shapeOptions, withOptions } from '../options.js';
import { showTransform } from '../stages.js';
import type { Terminal } from '../terminal.js';

interface Flags extends JobFlags {
  readonly json?: boolean;
}

/** What `pare inspect --json` prints: `schemas/inspect.schema.json`. */
export interface InspectReport extends Inspection {
  readonly schema: 'pare-inspect/1.0';
  readonly file: string;
  /** Model file and external data together. */
  readonly fileBytes: number;
  /** What simplify would leave. */
  readonly simplified: { readonly nodes: number; readonly notes: readonly string[] };
  readonly targets: readonly TargetSupport[];
}

/** `pare inspect`. */
export const inspect: Register = (program, run) => {
  const command = program
    .command('inspect')
    .summary('what is in a model, and where it would run')
    .description(
      'Shows what is in a model: inputs and outputs, parameters, multiply-accumulates, bytes by operator and tensor, peak memory ' +
        'of activations, what simplify would do, and what each target cannot run. Named dimensions count as 1 unless they are fixed.',
    )
    .argument('<model>', 'ONNX file');
  withOptions(
    command,
    shapeOptions,
    jsonOption('the result'),
    examples('inspect model.onnx', 'inspect model.onnx --fix-dim batch=8 --json | jq .macs'),
  ).action((file: string, flags: Flags) =>
    run(async ({ terminal, progress, signal, engine }) => {
      const { fixShapes: inputShapes, fixDims: dims } = Job.of(flags);
      const { model, summary } = await openModel(file, signal);
      // On a copy: for its complaints about names and lengths that the model does not have.
      await fixShapes({ fixShapes: inputShapes, fixDims: dims }).apply(model.clone(), {});
      const report: InspectReport = {
        schema: 'pare-inspect/1.0',
        file,
        fileBytes: summary.bytes,
        ...inspectModel(model, { inputShapes, dims }),
        simplified: await previewSimplify(model, { engine: engine(), signal, onProgress: showTransform(progress) }),
        targets: targetSupport(model),
      };
      progress.stop();
      terminal.out(flags.json ? JSON.stringify(report, null, 2) : describe(report, terminal));
      return EXIT.ok;
    }),
  );
};

/** Rows of a table before the rest is summed up. */
const OPERATORS = 15;
const TENSORS = 8;

function describe(report: InspectReport, { style, columns: width }: Terminal): string {
  const title = (text: string): string => `\n${style('bold', text)}`;
  const port = (p: PortSummary): string =>
    `  ${visible(p.name)}  ${style('dim', visible(`${p.dtype} [${p.dims?.map((d) => d ?? '?').join(', ') ?? '...'}]`))}`;
  const opsets = Object.entries(report.opsets).map(([domain, version]) => `${domain} ${version}`);
  const fewer = report.nodes + report.subgraphNodes - report.simplified.nodes;
  const assumed = report.assumedOne.length > 0 ? `, with ${visible(report.assumedOne.join(' = '))} = 1` : '';
  const rest = report.operators.length - OPERATORS;
  const lines = [
    `${style('bold', report.file)}  ${bytes(report.fileBytes)}`,
    style(
      'dim',
      visible(`${report.producer || 'unknown producer'}, IR ${report.irVersion}, opset ${opsets.join(', ')}`),
    ),
    title('inputs'),
    ...report.inputs.map(port),
    title('outputs'),
    ...report.outputs.map(port),
    title('size'),
    columns([
      ['  nodes', String(report.nodes), report.subgraphNodes ? `and ${report.subgraphNodes} in subgraphs` : ''],
      ['  parameters', count(report.parameters)],
      ['  weights', bytes(report.weightBytes)],
      ['  multiply-accumulates', report.macs === null ? 'unknown' : count(report.macs)],
      ['  peak activations', bytes(report.activations.bytes)],
    ]),
    ...(assumed ? [style('yellow', `  counted${assumed}; say otherwise with --fix-dim or --fix-shape`)] : []),
    ...(report.macsUnknown > 0
      ? [style('yellow', `  ${report.macsUnknown} nodes of unknown shape are not counted`)]
      : []),
    title('weights by type'),
    columns(Object.entries(report.dtypes).map(([dtype, n]) => [`  ${dtype}`, bytes(n)])),
    title('operators'),
    columns([
      ['  operator', 'nodes', 'weights', 'MACs'],
      ...report.operators
        .slice(0, OPERATORS)
        .map((o) => [`  ${visible(o.operator)}`, String(o.nodes), bytes(o.weightBytes), count(o.macs)]),
    ]),
    ...(rest > 0 ? [style('dim', `  and ${rest} more; --json has all`)] : []),
    title('largest tensors'),
    columns(
      report.largest
        .slice(0, TENSORS)
        .map((t) => [`  ${shorten(visible(t.name), width - 40)}`, `${t.dtype} [${t.dims.join(', ')}]`, bytes(t.bytes)]),
    ),
    title('simplify'),
    fewer > 0 ? `  would leave ${report.simplified.nodes} nodes, ${fewer} fewer` : '  finds no node to remove',
    title('targets'),
    ...report.targets.flatMap((t) =>
      t.problems.length === 0
        ? [`  ${style('green', '✓')} ${t.target} has a kernel for every operator`]
        : [
            `  ${style('yellow', '!')} ${t.target}: ${visible(t.problems[0] ?? '')}`,
            ...t.problems.slice(1).map((problem) => `    ${visible(problem)}`),
          ],
    ),
  ];
  return lines.join('\n');
}

/** Long names of tensors end alike and begin alike: the middle goes. */
function shorten(name: string, width: number): string {
  const most = Math.max(24, width);
  if (name.length <= most) return name;
  const half = Math.floor((most - 1) / 2);
  return `${name.slice(0, most - 1 - half)}…${name.slice(-half)}`;
}

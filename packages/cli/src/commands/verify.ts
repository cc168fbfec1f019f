import { assembleEvidence } from '@pare/optimize';
import {
  type DataInfo,
  type Dataset,
  type Evidence,
  indexData,
  renderReport,
  renderTable,
  type Stage,
  type VerifyOptions,
  verify as verifyModels,
} from '@pare/verify';
import { freshProcess, hostInfo } from '@pare/verify/node';
import { type CommandContext, EXIT } from '../command.js';
import { Job, type JobFlags } from '../job.js';
import type { Register } from '../main.js';
import { checkOutput, openForVerify, running } from '../models.js';
import {
  configOption,
  dataOptions,
  examples,
  gateOptions,
  jsonOption,
  measureOptions,
  metricOption,
  withOptions,
} from '../options.js';
import { writeReport } from '../report.js';
import { showStages } from '../stages.js';

interface Flags extends JobFlags {
  readonly report?: string;
  readonly json?: boolean;
}

/** `pare verify`: stages 1 to 3 on models that exist. */
export const verify: Register = (program, run) => {
  const command = program
    .command('verify')
    .summary('accuracy, numerics, performance against the original')
    .description(
      'Measures models against the one they came from: accuracy, numerics, performance. The exit code is 1 when a gate fails, a ' +
        'model does not run, gives NaN where the original does not, or its integer kernels saturate on this processor.',
    )
    .argument('<original>', 'ONNX file that the others are compared with')
    .argument('<variants...>', 'ONNX files');
  withOptions(
    command,
    dataOptions,
    metricOption,
    gateOptions,
    measureOptions,
    (c) => c.option('--report <file>', 'write the report as one HTML file'),
    configOption,
    jsonOption('the evidence'),
    examples(
      'verify model.onnx int8.onnx --data val.npz --max-drop 1%',
      'verify model.onnx int8.onnx q4.onnx --report report.html',
    ),
  ).action((original: string, variants: string[], flags: Flags) =>
    run(async (context) => {
      const { terminal } = context;
      if (flags.report !== undefined) await checkOutput(flags.report);
      const evidence = await measure(original, variants, await Job.load(flags), [], context);
      await writeReport(flags.report, () => renderReport(evidence));
      terminal.out(
        flags.json
          ? JSON.stringify(evidence, null, 2)
          : renderTable(evidence, { columns: terminal.columns, style: terminal.style }),
      );
      const holds = evidence.refused.length === 0 && evidence.variants.every((v) => v.verdict.status !== 'refused');
      return holds ? EXIT.ok : EXIT.gatesFail;
    }),
  );
};

/** Measures `variants` against `original`, leaving out the stages `skip`. */
export async function measure(
  original: string,
  variants: readonly string[],
  job: Job,
  skip: readonly Stage[],
  { engine, signal, progress, commandLine }: CommandContext,
): Promise<Evidence> {
  const { gates, threads, seed, budgetMs } = job;
  const metric = await job.metric();
  const data = await job.data();
  const first = await openForVerify(original, new Set(), signal);
  const others: Awaited<ReturnType<typeof openForVerify>>[] = [];
  for (const path of variants) {
    others.push(await openForVerify(path, new Set(['original', first.name, ...others.map((o) => o.name)]), signal));
  }
  const show = showStages(progress);
  const info = await dataInfo(data, seed, signal, (done, total) => show({ stage: 'samples', done, total }));
  const options: VerifyOptions = {
    data,
    metrics: metric ? [metric] : [],
    gates,
    skip,
    threads,
    seed,
    signal,
    ...(budgetMs === undefined ? {} : { budgetMs }),
    fresh: (model, feeds) => freshProcess(model.model, feeds, { threads, config: model.sessionConfig ?? {}, signal }),
    onProgress: show,
  };
  const verified = await running(first.graph, () => verifyModels(engine(), first, others, options));
  progress.end();
  return assembleEvidence(verified, {
    model: { ...first.info, inputs: verified.inputs, outputs: verified.outputs },
    data: { ...info, evaluation: verified.samples, samples: verified.samples },
    host: hostInfo(engine().name),
    options: { target: null, threads, batchSize: 1, seed, gates },
    goal: null,
    repeat: { command: commandLine, config: job.configText },
  });
}

async function dataInfo(
  data: Dataset | undefined,
  seed: number,
  signal: AbortSignal,
  onProgress: (done: number, total: number | undefined) => void,
): Promise<DataInfo> {
  const base = { calibration: 0, evaluation: 0, samples: 0, seed };
  if (!data) {
    return { ...base, name: 'random inputs', kind: 'random', hash: null, labelled: false, classes: null, warnings: [] };
  }
  const { hash, labelled, classes, warnings } = await indexData(data, { signal, onProgress });
  return { ...base, name: data.name, kind: 'user', hash, labelled, classes, warnings };
}

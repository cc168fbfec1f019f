import { PareError } from '@pare/core';
import { firstFeeds, simplifyProven } from '@pare/optimize';
import { simplifyPasses, simplify as simplifyTransform } from '@pare/transforms';
import { type CommandContext, EXIT } from '../command.js';
import { bytes, noteLines } from '../format.js';
import { Job, type JobFlags } from '../job.js';
import type { Register } from '../main.js';
import { checkOutput, type FileSummary, openModel, running, saveModel } from '../models.js';
import { configOption, dataOptions, examples, jsonOption, shapeOptions, withOptions } from '../options.js';
import { collect } from '../parse.js';
import { showTransform } from '../stages.js';

interface Flags extends JobFlags {
  readonly output: string;
  readonly skip?: string[];
  readonly check: boolean;
  readonly json?: boolean;
}

/** What `pare simplify --json` prints: `schemas/simplify.schema.json`. */
export interface SimplifyReport {
  readonly schema: 'pare-simplify/1.0';
  readonly before: FileSummary;
  readonly after: FileSummary;
  /** One sentence a change, and what running both graphs showed. */
  readonly notes: readonly string[];
}

/** `pare simplify`. */
export const simplify: Register = (program, run) => {
  const command = program
    .command('simplify')
    .summary('fold, fuse and clean; outputs stay equal')
    .description(
      'Folds constants, removes what does nothing, fuses what belongs together. Both graphs are then run, on a sample of --data or ' +
        'on random inputs: when outputs differ by more than rounding, nothing is written and the exit code is 1.',
    )
    .argument('[model]', 'ONNX file; default: the one in pare.config.ts')
    .requiredOption('-o, --output <file>', 'where to write the result');
  withOptions(
    command,
    shapeOptions,
    (c) =>
      c
        .option('--skip <pass>', 'leave a pass out', collect)
        .option('--no-check', 'do not run both graphs: for operators that the runtime does not have'),
    dataOptions,
    configOption,
    jsonOption('the result'),
    examples(
      'simplify model.onnx -o small.onnx',
      'simplify model.onnx -o small.onnx --fix-dim batch=1 --fix-shape image=1,3,224,224',
    ),
  ).action((file: string | undefined, flags: Flags) =>
    run(async (context) => {
      const { terminal, progress, signal } = context;
      const { style } = terminal;
      const job = await Job.load(flags);
      const { fixShapes, fixDims } = job;
      const skip = knownPasses(flags.skip ?? []);
      await checkOutput(flags.output);
      const { model, summary: before } = await openModel(job.model(file), signal);
      const options = { fixShapes, fixDims, skip };
      const transform = { engine: context.engine(), signal, onProgress: showTransform(progress) };
      let simplified = model;
      let notes: readonly string[];
      if (flags.check) {
        const proven = await running(model, async () =>
          simplifyProven(model, options, transform, await sampleFeeds(job, model, context)),
        );
        if (proven.proof !== 'equal') {
          progress.stop();
          const isWrong = proven.proof === 'different';
          const kind = isWrong ? terminal.errStyle('red', 'error') : terminal.errStyle('yellow', 'warning');
          terminal.err(`${kind}: ${proven.warning}`);
          if (isWrong) return EXIT.gatesFail;
        }
        ({ model: simplified, notes } = proven);
      } else {
        notes = (await model.transform(simplifyTransform(options), transform))[0]?.notes ?? [];
      }
      progress.update({ stage: 'Writing', done: 0 });
      const after = await saveModel(flags.output, simplified, signal);
      progress.end();
      const report: SimplifyReport = { schema: 'pare-simplify/1.0', before, after, notes };
      if (flags.json) terminal.out(JSON.stringify(report, null, 2));
      else {
        for (const line of noteLines(notes)) terminal.out(style('dim', line));
        const numbers = ({ nodes, bytes: n }: FileSummary): string => `${nodes} nodes, ${bytes(n)}`;
        terminal.out(`${numbers(before)}  →  ${style('bold', numbers(after))}  ${flags.output}`);
      }
      return EXIT.ok;
    }),
  );
};

/** A sample of the job's data to run graphs on; undefined without data. */
export async function sampleFeeds(
  job: Job,
  model: Parameters<typeof firstFeeds>[1],
  { engine, signal }: CommandContext,
): ReturnType<typeof firstFeeds> {
  const data = await job.data();
  return data && firstFeeds(data, model, engine(), signal);
}

function knownPasses(names: readonly string[]): readonly string[] {
  const known = simplifyPasses().map((pass) => pass.name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  throw new PareError('bad-option', `--skip ${unknown}: there is no such pass. They are: ${known.join(', ')}.`);
}

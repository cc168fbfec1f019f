import { PareError } from '@pare/core';
import { crossEntropy, type DistillTerm, distill as distillStudent, parseTerms } from '@pare/train';
import { rowFile } from '@pare/train/node';
import { pruneChannels } from '@pare/transforms';
import type { TrainingEvidence } from '@pare/verify';
import { EXIT } from '../command.js';
import { bytes } from '../format.js';
import { Job } from '../job.js';
import type { Register } from '../main.js';
import { checkOutput, type FileSummary, openModel, running, saveModel } from '../models.js';
import { configOption, dataOptions, examples, jsonOption, withOptions } from '../options.js';
import { parseCount, parseFraction } from '../parse.js';
import { trainingOf, writeTrainingReport } from '../report.js';
import {
  forgetCheckpoints,
  printKept,
  printTraining,
  type TrainingFlags,
  trainingOptions,
  trainingSettings,
} from '../training.js';

interface Flags extends TrainingFlags {
  readonly teacher?: string;
  readonly loss: string;
  readonly temperature?: string;
  readonly labels?: string;
  readonly makeStudent?: string;
  readonly cache?: string;
  readonly json?: boolean;
}

/** What `pare distill --json` prints: `schemas/distill.schema.json`. */
export interface DistillReport {
  readonly schema: 'pare-distill/1.0';
  readonly terms: readonly DistillTerm[];
  readonly before: FileSummary;
  readonly after: FileSummary;
  readonly teacher: FileSummary;
  readonly training: TrainingEvidence;
}

/** `pare distill`. */
export const distill: Register = (program, run) => {
  const command = program
    .command('distill')
    .summary('train a small model to follow a large one')
    .description(
      'Trains a student to answer as a teacher does, to compute what it computes inside, or to relate samples as it does. Any ' +
        'two models whose inputs fit the samples; what is trained beside the student is no part of the result.',
    )
    .argument('[student]', 'ONNX file; or none with --make-student')
    .requiredOption('-o, --output <file>', 'where to write the trained student')
    .requiredOption('--teacher <file>', 'ONNX file of the teacher')
    .option(
      '--loss <terms>',
      'response, feature:<student value>=<teacher value>, attention:..., relation, similarity; each with *<weight>',
      'response',
    )
    .option('--temperature <n>', 'softens both answers (default: 4)')
    .option(
      '--labels <weight>',
      'weight of cross-entropy with the labels beside it; 0: labels are not needed (default: 0.1)',
    )
    .option('--make-student <share>', 'make the student of the teacher, without this share of its channels: 0.5')
    .option('--cache <file>', "keeps the teacher's answers between epochs and runs (not with --augment)")
    .option('--epochs <n>', 'passes over the samples (default: 3)');
  withOptions(
    command,
    dataOptions,
    trainingOptions,
    configOption,
    jsonOption('the result'),
    examples(
      'distill student.onnx --teacher teacher.onnx --data train.npz --val val.npz -o out.onnx',
      'distill --teacher teacher.onnx --make-student 0.5 --data train.npz --val 1000 -o half.onnx',
      'distill student.onnx --teacher teacher.onnx --data train.npz --loss response,feature:relu3=relu7*0.5,relation -o out.onnx',
    ),
  ).action((file: string | undefined, flags: Flags) =>
    run(async (context) => {
      const { terminal, progress, signal } = context;
      const job = await Job.load(flags);
      await checkOutput(flags.output);
      const terms = withTemperature(parseTerms(flags.loss), flags.temperature);
      const weight = flags.labels === undefined ? 0.1 : parseFraction(flags.labels, '--labels');
      const labels = weight === 0 ? null : { loss: crossEntropy(), weight };
      const epochs = flags.epochs === undefined ? 3 : parseCount(flags.epochs, '--epochs');
      if (flags.makeStudent !== undefined && file !== undefined) {
        throw new PareError('bad-option', `Give a student (${file}) or --make-student, not both.`);
      }
      const settings = await trainingSettings(flags, job, context, epochs);
      const { model: teacher, summary: taught } = await openModel(flags.teacher ?? '', signal);
      const { model: student, summary: before } =
        flags.makeStudent === undefined
          ? await openModel(job.model(file), signal)
          : await openModel(flags.teacher ?? '', signal);
      if (flags.makeStudent !== undefined) {
        const channels = parseFraction(flags.makeStudent, '--make-student');
        await student.transform(pruneChannels({ goal: { channels }, ranking: 'uniform' }), { signal });
      }
      const cache = flags.cache === undefined ? undefined : rowFile(flags.cache);
      const result = await running(student, () =>
        distillStudent(student, { ...settings, teacher, terms, labels, cache }),
      ).finally(() => cache?.close());
      progress.update({ stage: 'Writing', done: 0 });
      const after = await saveModel(flags.output, student, signal);
      forgetCheckpoints(flags);
      progress.end();
      const training = trainingOf(flags.output, { what: 'distill', seed: job.seed, result });
      const facts = [['Teacher', `${bytes(taught.bytes)}`]] as const;
      await writeTrainingReport(flags.report, { before, after, training: [training], facts }, context);
      const report: DistillReport = { schema: 'pare-distill/1.0', terms, before, after, teacher: taught, training };
      if (flags.json) terminal.out(JSON.stringify(report, null, 2));
      else {
        printTraining(terminal, result);
        printKept(terminal, flags.output, result);
      }
      return EXIT.ok;
    }),
  );
};

function withTemperature(terms: readonly DistillTerm[], flag: string | undefined): DistillTerm[] {
  if (flag === undefined) return [...terms];
  const temperature = Number(flag);
  if (!(temperature > 0)) throw new PareError('bad-option', `--temperature ${flag}: write a number above 0.`);
  return terms.map((term) => (term.kind === 'response' ? { ...term, temperature } : term));
}

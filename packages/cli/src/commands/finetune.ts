import { LOSSES, namedLoss, train } from '@pare/train';
import type { TrainingEvidence } from '@pare/verify';
import { EXIT } from '../command.js';
import { Job } from '../job.js';
import type { Register } from '../main.js';
import { checkOutput, type FileSummary, openModel, running, saveModel } from '../models.js';
import { configOption, dataOptions, examples, jsonOption, withOptions } from '../options.js';
import { oneOf, parseCount } from '../parse.js';
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
  readonly loss: string;
  readonly json?: boolean;
}

/** What `pare finetune --json` prints: `schemas/finetune.schema.json`. */
export interface FinetuneReport {
  readonly schema: 'pare-finetune/1.0';
  readonly before: FileSummary;
  readonly after: FileSummary;
  readonly training: TrainingEvidence;
}

/** `pare finetune`. */
export const finetune: Register = (program, run) => {
  const command = program
    .command('finetune')
    .summary('train the weights further on your samples')
    .description(
      'Derives the gradient graph of the model in standard operators and trains its weights. The structure stays as it is. The ' +
        'weights that score best on --val are kept; judge the result on other samples: see `pare verify`.',
    )
    .argument('[model]', 'ONNX file; default: the one in pare.config.ts')
    .requiredOption('-o, --output <file>', 'where to write the result')
    .option('--loss <name>', Object.keys(LOSSES).join(', '), 'cross-entropy')
    .option('--epochs <n>', 'passes over the samples (default: 3)');
  withOptions(
    command,
    dataOptions,
    trainingOptions,
    configOption,
    jsonOption('the result'),
    examples(
      'finetune model.onnx --data train.npz --val val.npz --epochs 3 -o tuned.onnx',
      'finetune model.onnx --data train.npz --loss mse --freeze "/^encoder/" --optimizer sgd --lr 0.01 -o tuned.onnx',
      'finetune model.onnx --data train.npz --epochs 30 -o tuned.onnx --resume',
    ),
  ).action((file: string | undefined, flags: Flags) =>
    run(async (context) => {
      const { terminal, progress, signal } = context;
      const job = await Job.load(flags);
      await checkOutput(flags.output);
      const loss = namedLoss(oneOf(flags.loss, Object.keys(LOSSES), '--loss') ?? 'cross-entropy');
      const epochs = flags.epochs === undefined ? 3 : parseCount(flags.epochs, '--epochs');
      const settings = await trainingSettings(flags, job, context, epochs);
      const { model, summary: before } = await openModel(job.model(file), signal);
      const result = await running(model, () => train(model, { ...settings, loss }));
      progress.update({ stage: 'Writing', done: 0 });
      const after = await saveModel(flags.output, model, signal);
      forgetCheckpoints(flags);
      progress.end();
      const training = trainingOf(flags.output, { what: 'finetune', seed: job.seed, result });
      await writeTrainingReport(flags.report, { before, after, training: [training] }, context);
      const report: FinetuneReport = { schema: 'pare-finetune/1.0', before, after, training };
      if (flags.json) terminal.out(JSON.stringify(report, null, 2));
      else {
        printTraining(terminal, result);
        printKept(terminal, flags.output, result);
      }
      return EXIT.ok;
    }),
  );
};

import { stat } from 'node:fs/promises';
import { readModel, writeModel } from '@pare/core/node';
import { simplify as simplifyTransform } from '@pare/transforms';
import { EXIT } from '../command.js';
import { bytes, count } from '../format.js';
import type { Register } from '../main.js';
import { collect, parseDims, parseShapes } from '../parse.js';

interface Flags {
  readonly output: string;
  readonly fixShape?: string[];
  readonly fixDim?: string[];
  readonly skip?: string[];
  readonly json?: boolean;
}

/** `pare simplify`. */
export const simplify: Register = (program, run) => {
  program
    .command('simplify')
    .description('fold constants, remove what does nothing, fuse what belongs together; outputs stay equal')
    .argument('<model>', 'ONNX file')
    .requiredOption('-o, --output <file>', 'where to write the result')
    .option('--fix-shape <name=dims>', 'fix the shape of an input, for example image=1,3,224,224', collect)
    .option('--fix-dim <name=number>', 'fix a named dimension, for example batch=1', collect)
    .option('--skip <pass>', 'leave a pass out', collect)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ pare simplify model.onnx -o small.onnx\n  $ pare simplify model.onnx -o small.onnx --fix-dim batch=1 --fix-shape image=1,3,224,224',
    )
    .action((file: string, flags: Flags) =>
      run(async ({ terminal, progress, signal, engine }) => {
        const fixShapes = parseShapes(flags.fixShape ?? []);
        const fixDims = parseDims(flags.fixDim ?? []);
        const model = await readModel(file, { signal });
        const before = { nodes: [...model.allNodes()].length, bytes: (await stat(file)).size };
        const [result] = await model.transform(simplifyTransform({ fixShapes, fixDims, skip: flags.skip ?? [] }), {
          engine: engine(),
          signal,
          onProgress: progress.update,
        });
        await writeModel(flags.output, model, { signal });
        progress.end();
        const after = { nodes: [...model.allNodes()].length, bytes: (await stat(flags.output)).size };
        if (flags.json) {
          terminal.out(JSON.stringify({ before, after, notes: result?.notes ?? [] }, null, 2));
        } else {
          for (const note of result?.notes ?? []) terminal.out(terminal.style('dim', `  ${note}`));
          terminal.out(
            `${before.nodes} nodes, ${bytes(before.bytes)}  ->  ${terminal.style('bold', `${after.nodes} nodes, ${bytes(after.bytes)}`)}  ${flags.output}`,
          );
          terminal.out(terminal.style('dim', `${count(result?.changed ?? 0)} changes`));
        }
        return EXIT.ok;
      }),
    );
};

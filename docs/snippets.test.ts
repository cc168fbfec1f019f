import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GraphBuilder, type HostTensor } from '@pare/core';
import { writeModel } from '@pare/core/node';
import { encodeNpz } from '@pare/verify';
import { afterAll, beforeAll, expect, it } from 'vitest';

// Every ```ts block of the documentation has right types and runs, as its reader would run it: in a folder with a model.onnx (a
// small image classifier) and a val.npz (labelled samples for it).

const docs = new URL('.', import.meta.url).pathname;
const pages = ['../README.md', ...readdirSync(docs).filter((f) => f.endsWith('.md'))];
const scratch = join(docs, '.snippets');
const folder = join(tmpdir(), `pare-snippets-${process.pid}`);
const home = process.cwd();
const tsc = new URL('../node_modules/typescript/bin/tsc', import.meta.url).pathname;

beforeAll(async () => {
  mkdirSync(scratch, { recursive: true });
  mkdirSync(folder, { recursive: true });
  for (const { file, code } of snippets) writeFileSync(file, code);
  process.chdir(folder);
  await writeModel('model.onnx', classifier());
  writeFileSync('val.npz', encodeNpz(samples(200)));
});

afterAll(() => {
  process.chdir(home);
  rmSync(scratch, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
});

const snippets = pages.flatMap((page) =>
  [...readFileSync(join(docs, page), 'utf8').matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code = ''], i) => ({
    name: `${page.replace('../', '')} ${i + 1}`,
    file: join(scratch, `${page.replace(/\W/g, '_')}_${i + 1}.ts`),
    code,
  })),
);

it('the types are right', () => {
  const config = join(scratch, 'tsconfig.json');
  writeFileSync(config, JSON.stringify({ extends: '../../tsconfig.tests.json', include: ['*.ts'] }));
  const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', config], { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

it.each(snippets)('$name runs', ({ file }) => expect(import(file)).resolves.toBeDefined());

/** image [batch, 3, 16, 16] -> logits [batch, 4]. */
function classifier(): ReturnType<GraphBuilder['model']> {
  const b = new GraphBuilder({ seed: 3 });
  let v = b.input('image', 'float32', ['batch', 3, 16, 16]);
  for (const [from, to] of [
    [3, 16],
    [16, 16],
  ] as const) {
    v = b.op('Relu', [
      b.op('Conv', [v, b.random([to, from, 3, 3]), b.random([to], { scale: 0.1 })], { pads: [1, 1, 1, 1] }),
    ]);
  }
  v = b.op('Flatten', [b.op('GlobalAveragePool', [v])]);
  return b
    .output('logits', b.op('Gemm', [v, b.random([16, 4]), b.random([4])]), 'float32', ['batch', 4])
    .model({ opset: 17 });
}

function samples(n: number): Record<string, HostTensor> {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return {
    image: { dtype: 'float32', dims: [n, 3, 16, 16], data: Float32Array.from({ length: n * 3 * 256 }, random) },
    labels: { dtype: 'int64', dims: [n], data: BigInt64Array.from({ length: n }, (_, i) => BigInt(i % 4)) },
  };
}

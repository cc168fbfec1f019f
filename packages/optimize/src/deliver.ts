import { basename } from 'node:path';
import { huggingFacePath, type Manifest, toBundleName, type VariantDraft } from '@pare/bundle';
import { type BundleSource, writeBundle } from '@pare/bundle/node';
import { type Evidence, renderMarkdown, renderReport } from '@pare/verify';
import type { BuiltVariant } from './optimize.js';
import type { TargetName } from './targets/profile.js';
import { version } from './version.js';

/** Names of files: Pare's own, or those that transformers.js looks for. */
export type Layout = 'pare' | 'hf';

export interface DeliverOptions {
  readonly model: string;
  readonly output: string;
  readonly target?: TargetName | undefined;
  readonly layout?: Layout | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Delivered {
  readonly folder: string;
  readonly manifest: Manifest;
}

/**
 * Writes the accepted variants, manifest, evidence and report to the output folder, at once: a folder that was there before
 * stays whole until the new one is. The original is among the files only when it is what is recommended.
 * @throws BundleError when the folder cannot be written, or holds files of others under these names.
 */
export async function deliver(
  evidence: Evidence,
  built: readonly BuiltVariant[],
  options: DeliverOptions,
): Promise<Delivered> {
  const files: Record<string, BundleSource> = {};
  const variants: VariantDraft<string>[] = [];
  for (const variant of evidence.variants) {
    if (variant.verdict.status === 'refused') continue;
    const made = built.find((b) => b.recipe.name === variant.name);
    if (!made) {
      if (variant.verdict.status === 'recommended') {
        variants.push({ id: variant.name, dtype: 'fp32', model: 'original.onnx' });
        files['original.onnx'] = { file: options.model };
      }
      continue;
    }
    const model = pathOf(made, options.layout ?? 'pare');
    files[model] = { file: made.path };
    const folder = model.slice(0, model.lastIndexOf('/') + 1);
    const externalData = made.dataPaths.map((path) => `${folder}${basename(path)}`);
    externalData.forEach((path, i) => {
      files[path] = { file: made.dataPaths[i] as string };
    });
    variants.push({
      id: variant.name,
      dtype: made.recipe.dtype,
      target: options.target ?? 'node-cpu',
      model,
      externalData,
      sessionConfig: variant.sessionConfig,
      peakBytes: variant.performance?.freshProcess?.peakBytes ?? null,
    });
  }
  const documents = ['report.html', ...(options.layout === 'hf' ? ['README.md'] : [])];
  files['report.html'] = renderReport(evidence);
  if (options.layout === 'hf') files['README.md'] = renderMarkdown(evidence);
  files['evidence.json'] = `${JSON.stringify(evidence, null, 2)}\n`;
  const manifest = await writeBundle(options.output, {
    manifest: {
      name: toBundleName(evidence.model.name),
      version: '1',
      tool: { name: 'pare', version },
      source: { file: evidence.model.file, bytes: evidence.model.bytes, sha256: evidence.model.sha256 ?? '' },
      inputs: evidence.model.inputs,
      outputs: evidence.model.outputs,
      variants,
      recommended: evidence.recommendation.variant,
      evidence: 'evidence.json',
      documents,
    },
    files,
    ...(options.signal ? { signal: options.signal } : {}),
  });
  return { folder: options.output, manifest };
}

function pathOf(made: BuiltVariant, layout: Layout): string {
  const hf = layout === 'hf' ? huggingFacePath(made.recipe.dtype) : null;
  return hf ?? basename(made.path);
}

import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { MANIFEST_FILE, type Manifest, toBundleName, type VariantDraft } from '@pare/bundle';
import { type BundleSource, checkBundleFolder, writeBundle } from '@pare/bundle/node';
import type { Model } from '@pare/core';
import { writeModel } from '@pare/core/node';
import { type Evidence, renderMarkdown, renderReport, type VariantEvidence } from '@pare/verify';
import type { BuiltVariant } from './build.js';
import { type Layout, modelPath } from './layout.js';
import { hasExternalData } from './model-file.js';
import type { TargetName } from './targets/profile.js';
import { version } from './version.js';

/** A file, and where it goes in the output folder. */
export interface PlacedFile {
  /** Relative to the output folder, with `/`. */
  readonly place: string;
  readonly file: string;
}

export interface DeliverOptions {
  readonly model: string;
  readonly output: string;
  /** Folder for files that are made on the way. */
  readonly staging: string;
  readonly target?: TargetName | undefined;
  readonly layout?: Layout | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Delivered {
  readonly folder: string;
  readonly manifest: Manifest;
  /** As it was written: with the places of the files in the folder. */
  readonly evidence: Evidence;
}

const EVIDENCE = 'evidence.json';
/** What a Hugging Face repository must have: the model that is loaded where nobody asks for a precision. */
const HF_BASE = modelPath('fp32', 'hf');

/** Files for people, beside the models. */
const documentsOf = (layout: Layout = 'pare'): string[] => ['report.html', ...(layout === 'hf' ? ['README.md'] : [])];

/**
 * Refuses an output folder that will not take the result, before the work is done: not writable, or with files of others where
 * its own will be. `variants` are the names of the variants that may come.
 * @throws BundleError `io`.
 */
export async function checkFolder(
  { output, layout = 'pare' }: Pick<DeliverOptions, 'output' | 'layout'>,
  variants: readonly string[] = [],
): Promise<void> {
  const models = variants.map((name) => modelPath(name, layout));
  await checkBundleFolder(output, [MANIFEST_FILE, EVIDENCE, ...documentsOf(layout), ...models]);
}

/**
 * Writes the accepted variants, manifest, evidence and report to the output folder, at once: a folder that was there before
 * stays whole until the new one is. Refused variants stay out, and the original too, unless it is what is recommended or what
 * the layout cannot do without.
 * @throws BundleError when the folder cannot be written, or holds files of others under these names.
 */
export async function deliver(
  judged: Evidence,
  built: readonly BuiltVariant[],
  original: Model,
  options: DeliverOptions,
): Promise<Delivered> {
  const files: Record<string, BundleSource> = {};
  const variants: VariantDraft<string>[] = [];
  const rows: VariantEvidence[] = [];
  // The original comes first among the variants, and gets the name that is left.
  for (const variant of judged.variants.toReversed()) {
    const made = built.find((b) => b.recipe.name === variant.name);
    const isOut = made
      ? variant.verdict.status === 'refused'
      : variant.verdict.status !== 'recommended' && (options.layout !== 'hf' || HF_BASE in files);
    const placed = isOut
      ? []
      : (made?.files ?? (await placeOriginal(variant.name, original, Object.keys(files), options)));
    const [model, ...externalData] = placed.map(({ place }) => place);
    rows.unshift({ ...variant, files: placed.map(({ place }) => place) });
    if (model === undefined) continue;
    for (const { place, file } of placed) files[place] = { file };
    variants.unshift({
      id: variant.name,
      dtype: made?.recipe.dtype ?? 'fp32',
      target: made ? (options.target ?? 'node-cpu') : null,
      model,
      externalData,
      sessionConfig: variant.sessionConfig,
      needs: made?.recipe.needs ?? [],
      peakBytes: variant.performance?.freshProcess?.peakBytes ?? null,
    });
  }
  const evidence = { ...judged, variants: rows };
  files['report.html'] = renderReport(evidence);
  if (options.layout === 'hf') {
    files['README.md'] = `# ${toBundleName(evidence.model.name)}\n\n${renderMarkdown(evidence)}`;
  }
  files[EVIDENCE] = `${JSON.stringify(evidence, null, 2)}\n`;
  const manifest = await writeBundle(options.output, {
    manifest: {
      name: toBundleName(evidence.model.name),
      version: '1',
      tool: { name: 'pare', version },
      source: { file: evidence.model.file ?? '', bytes: evidence.model.bytes, sha256: evidence.model.sha256 ?? '' },
      inputs: evidence.model.inputs,
      outputs: evidence.model.outputs,
      variants,
      recommended: evidence.recommendation.variant,
      evidence: EVIDENCE,
      documents: documentsOf(options.layout),
    },
    files,
    ...(options.signal ? { signal: options.signal } : {}),
  });
  return { folder: options.output, manifest, evidence };
}

/** The original as it is; with external data, written anew, because their names are in it. */
async function placeOriginal(
  name: string,
  model: Model,
  taken: readonly string[],
  { model: path, layout = 'pare', staging, signal }: DeliverOptions,
): Promise<PlacedFile[]> {
  const place = modelPath(name, layout, taken);
  if (!hasExternalData(path, model)) return [{ place, file: path }];
  const copy = join(staging, 'copy', place);
  await mkdir(dirname(copy), { recursive: true });
  const written = await writeModel(copy, model, { externalData: true, signal });
  return written.map((file) => ({ place: posix.join(posix.dirname(place), basename(file.path)), file: file.path }));
}

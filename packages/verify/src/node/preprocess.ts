import { type Dataset, type HostTensor, mapDataset, PareError, type Sample, tensorText } from '@pare/core';
import sharp, { type Sharp } from 'sharp';
import { type Pixels, type Preprocessing, pixelsToTensor, resizedSize } from '../data/preprocessing.js';

/** libvips filters by their common names. All but `nearest` average over what they shrink, as PIL's do. */
const KERNELS = { nearest: 'nearest', bilinear: 'linear', bicubic: 'cubic', lanczos: 'lanczos3' } as const;

/**
 * The image in `file` as a model input, without batch axis. Colours become sRGB, alpha is dropped, EXIF rotation is not applied
 * (as PIL and torchvision load images).
 * @throws PareError `bad-data` naming the file when it is no image.
 */
export async function imageToTensor(file: string, spec: Preprocessing): Promise<HostTensor> {
  let image: Sharp;
  let size: { width?: number; height?: number };
  try {
    image = sharp(file, { failOn: 'error' });
    size = await image.metadata();
    const pixels = await resized(image, size.height ?? 0, size.width ?? 0, spec);
    return pixelsToTensor(pixels, spec);
  } catch (cause) {
    if (cause instanceof PareError) throw cause;
    throw new PareError('bad-data', `"${file}" is no image that can be read: ${firstLine(cause)}`, { cause });
  }
}

/**
 * `dataset` with its byte images turned into model inputs: the array named in the preprocessing, or the only one. Samples are
 * uint8 [H, W, 3], [H, W, 1], [H, W], or [3, H, W].
 * @throws PareError `bad-data` when an array is no image.
 */
export function preprocessDataset(dataset: Dataset, spec: Preprocessing): Dataset {
  return mapDataset(dataset, async (sample: Sample) => {
    const names = Object.keys(sample.inputs);
    const name = names.length === 1 ? names[0] : spec.input;
    const tensor = name === undefined ? undefined : sample.inputs[name];
    if (name === undefined || !tensor) {
      throw new PareError(
        'bad-option',
        `${dataset.name} has the arrays ${names.join(', ')}: say in the preprocessing which "input" is the image.`,
      );
    }
    const pixels = pixelsOf(tensor, `${sample.id ?? 'A sample'} of ${dataset.name}`);
    const { height, width, channels } = pixels;
    const raw = { width, height, channels: channels as 1 | 3 | 4 };
    const fitted = spec.resize ? await resized(sharp(pixels.data, { raw }), height, width, spec) : pixels;
    return { ...sample, inputs: { ...sample.inputs, [spec.input ?? name]: pixelsToTensor(fitted, spec) } };
  });
}

async function resized(image: Sharp, height: number, width: number, spec: Preprocessing): Promise<Pixels> {
  let pipeline = image;
  if (spec.resize !== undefined) {
    const size = resizedSize(spec.resize, height, width);
    pipeline = pipeline.resize({
      ...size,
      fit: 'fill',
      kernel: KERNELS[spec.interpolation ?? 'bilinear'],
      // Decoding a JPEG at a fraction of its size is another filter than the one asked for.
      fastShrinkOnLoad: false,
    });
  }
  const { data, info } = await pipeline
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { data, height: info.height, width: info.width, channels: info.channels };
}

function pixelsOf(tensor: HostTensor, where: string): Pixels {
  const [a, b, c] = tensor.dims as [number, number, number | undefined];
  const data = tensor.data as Uint8Array;
  if (tensor.dtype === 'uint8' && tensor.dims.length === 2) return { data, height: a, width: b, channels: 1 };
  if (tensor.dtype === 'uint8' && c !== undefined && tensor.dims.length === 3) {
    if (c === 3 || c === 4 || c === 1) return { data, height: a, width: b, channels: c };
    if (a === 3 || a === 1) return { data: interleave(data, a, b * c), height: b, width: c, channels: a };
  }
  throw new PareError(
    'bad-data',
    `${where} is ${tensorText(tensor)}; the preprocessing needs uint8 pixels [height, width, 3]. Leave it out if the data is prepared already.`,
  );
}

/** Planes to interleaved channels. */
function interleave(data: Uint8Array, channels: number, pixels: number): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < pixels; p++) out[p * channels + c] = data[c * pixels + p] as number;
  }
  return out;
}

function firstLine(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  const line = message.split('\n')[0] as string;
  return line.endsWith('.') ? line : `${line}.`;
}

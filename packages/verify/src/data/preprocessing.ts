import { type HostTensor, PareError } from '@pare/core';

/** How an image becomes a model input. Applied in this order: resize, crop, rescale, normalize, lay out. */
export interface Preprocessing {
  /** Model input that takes the image. Default: the only one. */
  readonly input?: string;
  /** `256`: the shorter edge, keeping proportions. `{ height, width }`: exactly. Default: no resize. */
  readonly resize?: number | ImageSize;
  /** Default `bilinear`. */
  readonly interpolation?: 'nearest' | 'bilinear' | 'bicubic' | 'lanczos';
  /** Centre crop to a square of this edge, or to `{ height, width }`; smaller images are padded with zeros. Default: none. */
  readonly crop?: number | ImageSize;
  /** Multiplies the pixel value (0..255). Default 1/255. */
  readonly scale?: number;
  /** Per channel, subtracted after scaling. Default 0. */
  readonly mean?: readonly number[];
  /** Per channel, divides after the mean. Default 1. */
  readonly std?: readonly number[];
  /** Order of the axes. Default `NCHW`. */
  readonly layout?: 'NCHW' | 'NHWC';
  /** Order of the channels. Default `RGB`. */
  readonly channels?: 'RGB' | 'BGR' | 'GRAY';
  /** `uint8` passes pixels on as they are: scale, mean and std are then not allowed. Default `float32`. */
  readonly dtype?: 'float32' | 'uint8';
}

export interface ImageSize {
  readonly height: number;
  readonly width: number;
}

/** Pixels as they come from a decoder: rows of interleaved channels. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly height: number;
  readonly width: number;
  /** 1 grey, 3 RGB, 4 RGB with alpha (which is dropped). */
  readonly channels: number;
}

/** PIL's numbers of resampling filters, as `preprocessor_config.json` gives them. */
const PIL_FILTERS: Readonly<Record<number, Preprocessing['interpolation']>> = {
  0: 'nearest',
  1: 'lanczos',
  2: 'bilinear',
  3: 'bicubic',
};

const KEYS: Readonly<Record<keyof Preprocessing, (value: unknown) => boolean>> = {
  input: (v) => typeof v === 'string',
  resize: isEdgeOrSize,
  interpolation: (v) => ['nearest', 'bilinear', 'bicubic', 'lanczos'].includes(v as string),
  crop: isEdgeOrSize,
  scale: (v) => typeof v === 'number' && Number.isFinite(v),
  mean: (v) => isNumbers(v),
  std: (v) => isNumbers(v) && v.every((x) => x !== 0),
  layout: (v) => v === 'NCHW' || v === 'NHWC',
  channels: (v) => v === 'RGB' || v === 'BGR' || v === 'GRAY',
  dtype: (v) => v === 'float32' || v === 'uint8',
};

/**
 * Reads a preprocessing from JSON: Pare's own keys (see Preprocessing), or a Hugging Face `preprocessor_config.json`.
 * @throws PareError `bad-option` naming `file` and the key.
 */
export function parsePreprocessing(json: unknown, file = 'The preprocessing'): Preprocessing {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new PareError('bad-option', `${file} must be a JSON object.`);
  }
  const record = json as Record<string, unknown>;
  const isHuggingFace = Object.keys(record).some(
    (k) => k.startsWith('do_') || /_processor_type$|_extractor_type$/.test(k),
  );
  const spec = isHuggingFace ? fromHuggingFace(record, file) : record;
  for (const [key, value] of Object.entries(spec)) {
    if (value === undefined) continue;
    const valid = KEYS[key as keyof Preprocessing];
    if (!valid) {
      throw new PareError('bad-option', `${file} has the key "${key}"; known are ${Object.keys(KEYS).join(', ')}.`);
    }
    if (!valid(value))
      throw new PareError('bad-option', `${file} has a bad value for "${key}": ${JSON.stringify(value)}.`);
  }
  const result = Object.fromEntries(Object.entries(spec).filter(([, v]) => v !== undefined)) as Preprocessing;
  if (result.dtype === 'uint8' && (result.scale !== undefined || result.mean || result.std)) {
    throw new PareError('bad-option', `${file} asks for uint8 pixels, which cannot be scaled or normalized.`);
  }
  return result;
}

/** Keys of image processors of the transformers library. */
function fromHuggingFace(config: Record<string, unknown>, file: string): Record<string, unknown> {
  const flag = (key: string, fallback: boolean): boolean => (config[key] as boolean | undefined) ?? fallback;
  const size = (value: unknown): number | ImageSize | undefined => {
    if (typeof value === 'number' || value === undefined) return value;
    const s = value as Record<string, number>;
    if (s.shortest_edge !== undefined && s.longest_edge === undefined) return s.shortest_edge;
    if (s.height !== undefined && s.width !== undefined) return { height: s.height, width: s.width };
    throw new PareError('bad-option', `${file} has a size that Pare does not know: ${JSON.stringify(value)}.`);
  };
  const square = (value: number | ImageSize | undefined): number | ImageSize | undefined =>
    typeof value === 'number' ? { height: value, width: value } : value;
  const doCrop = flag('do_center_crop', false);
  const resize = flag('do_resize', config.size !== undefined) ? size(config.size) : undefined;
  const pct = config.crop_pct as number | undefined;
  if (flag('do_pad', false) && config.do_center_crop !== true) {
    throw new PareError(
      'unsupported',
      `${file} asks for padding (do_pad), which Pare does not do. Prepare an .npz instead.`,
    );
  }
  // Old processors (ViT) give `size: 224` and mean exactly 224 x 224; a crop afterwards makes it the shorter edge.
  const exact = typeof config.size === 'number' && !doCrop && pct === undefined;
  const normalize = flag('do_normalize', config.image_mean !== undefined);
  const edge = typeof resize === 'number' ? resize : undefined;
  const convnext = pct !== undefined && edge !== undefined && edge < 384;
  return {
    resize: convnext
      ? Math.floor(edge / pct)
      : exact || (pct !== undefined && edge !== undefined)
        ? square(resize)
        : resize,
    crop: convnext ? edge : doCrop ? size(config.crop_size ?? config.size) : undefined,
    interpolation: typeof config.resample === 'number' ? PIL_FILTERS[config.resample] : undefined,
    scale: flag('do_rescale', true) ? ((config.rescale_factor as number | undefined) ?? 1 / 255) : 1,
    mean: normalize ? config.image_mean : undefined,
    std: normalize ? config.image_std : undefined,
    channels: config.do_flip_channel_order === true ? 'BGR' : undefined,
  };
}

/**
 * Pixels as a model input without batch axis: [C, H, W] or [H, W, C]. Cropped, scaled and normalized; not resized (that needs
 * an image library and comes before).
 * @throws PareError `bad-option` when mean or std do not fit the channels.
 */
export function pixelsToTensor(pixels: Pixels, spec: Preprocessing): HostTensor {
  const channels = spec.channels ?? 'RGB';
  const depth = channels === 'GRAY' ? 1 : 3;
  for (const key of ['mean', 'std'] as const) {
    const values = spec[key];
    if (values && values.length !== 1 && values.length !== depth) {
      throw new PareError(
        'bad-option',
        `The preprocessing gives ${values.length} values of "${key}" for ${depth} channels.`,
      );
    }
  }
  const box = sizeOf(spec.crop) ?? pixels;
  const { height, width } = box;
  const raw = spec.dtype === 'uint8';
  const data = raw ? new Uint8Array(depth * height * width) : new Float32Array(depth * height * width);
  const top = Math.floor((pixels.height - height) / 2);
  const left = Math.floor((pixels.width - width) / 2);
  const nchw = spec.layout !== 'NHWC';
  const source = pixels.data;
  for (let c = 0; c < depth; c++) {
    const scale = raw ? 1 : (spec.scale ?? 1 / 255);
    const mean = channelOf(spec.mean, c, 0);
    const std = channelOf(spec.std, c, 1);
    const from = channels === 'BGR' ? 2 - c : c;
    for (let y = 0; y < height; y++) {
      const sy = y + top;
      for (let x = 0; x < width; x++) {
        const sx = x + left;
        const inside = sy >= 0 && sy < pixels.height && sx >= 0 && sx < pixels.width;
        const at = (sy * pixels.width + sx) * pixels.channels;
        const value = inside ? channelValue(source, at, pixels.channels, from, depth) : 0;
        const to = nchw ? (c * height + y) * width + x : (y * width + x) * depth + c;
        data[to] = raw ? value : (value * scale - mean) / std;
      }
    }
  }
  const dims = nchw ? [depth, height, width] : [height, width, depth];
  return { dtype: raw ? 'uint8' : 'float32', dims, data };
}

function channelValue(source: Pixels['data'], at: number, available: number, wanted: number, depth: number): number {
  if (available < 3) return source[at] as number;
  if (depth === 3) return source[at + wanted] as number;
  // Luma of ITU-R BT.601, rounded as image libraries do.
  return Math.round(
    0.299 * (source[at] as number) + 0.587 * (source[at + 1] as number) + 0.114 * (source[at + 2] as number),
  );
}

function channelOf(values: readonly number[] | undefined, c: number, fallback: number): number {
  return values ? (values[values.length === 1 ? 0 : c] as number) : fallback;
}

/** A square edge or a size as a size. */
export function sizeOf(size: number | ImageSize | undefined): ImageSize | undefined {
  return typeof size === 'number' ? { height: size, width: size } : size;
}

/** Size after `resize` of an image of `height` x `width`: the shorter edge, or exactly. */
export function resizedSize(resize: number | ImageSize, height: number, width: number): ImageSize {
  if (typeof resize !== 'number') return resize;
  return height <= width
    ? { height: resize, width: Math.max(1, Math.floor((resize * width) / height)) }
    : { height: Math.max(1, Math.floor((resize * height) / width)), width: resize };
}

function isNumbers(v: unknown): v is number[] {
  return Array.isArray(v) && v.length > 0 && v.every((x) => typeof x === 'number' && Number.isFinite(x));
}

function isEdgeOrSize(v: unknown): boolean {
  const edge = (x: unknown): boolean => Number.isInteger(x) && (x as number) > 0 && (x as number) <= 65536;
  if (typeof v !== 'object' || v === null) return edge(v);
  const size = v as ImageSize;
  return edge(size.height) && edge(size.width);
}

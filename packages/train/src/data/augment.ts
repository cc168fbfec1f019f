import { PareError, type Random } from '@pare/core';

/** How training pictures are varied. Every number is drawn anew for each picture and epoch, uniformly. */
export interface AugmentOptions {
  /** Name of the input that holds the pictures. Default: the only one that is float32 [C, H, W]. */
  readonly input?: string;
  /** Mirror with probability 1/2: left and right, top and bottom, or each of both. Default never. */
  readonly flip?: 'horizontal' | 'vertical' | 'both';
  /** Shift by up to so many pixels along each axis: the same as padding by them and cutting the size out again. Default 0. */
  readonly crop?: number;
  /** Turn by up to so many degrees either way, bilinear. Default 0. */
  readonly rotate?: number;
  /** Change of the colours. */
  readonly colour?: ColourOptions;
  /** Side of a square, in pixels, that is blanked at a random place (DeVries and Taylor, 2017). Default none. */
  readonly cutout?: number;
  /** What stands outside the picture and in the cutout, in the units of the input, or one value a channel. Default 0. */
  readonly fill?: number | readonly number[];
}

/** Changes of colour, in the units of the input: they need not know how it was normalised. */
export interface ColourOptions {
  /** A number of up to this, either way, is added to every value. Default 0. */
  readonly brightness?: number;
  /** The distance of values from the picture's mean is scaled by 1 plus or minus up to this. Default 0. */
  readonly contrast?: number;
  /** The distance of values from the pixel's mean over the channels is scaled by 1 plus or minus up to this. Default 0. */
  readonly saturation?: number;
}

/** Checked options; plain data, so that it travels to workers. */
export type Augmentation = AugmentOptions & { readonly kind: 'image' };

/**
 * How to vary training pictures (inputs of float32 [C, H, W]):
 * `augment({ flip: 'horizontal', crop: 4, cutout: 8, fill: -0.81 })`. Evaluation sees the pictures as they are.
 * @throws PareError `bad-option` for numbers out of range.
 */
export function augment(options: AugmentOptions): Augmentation {
  const { crop = 0, rotate = 0, cutout = 0, fill = 0, colour = {} } = options;
  const { brightness = 0, contrast = 0, saturation = 0 } = colour;
  const refuse = (what: string): never => {
    throw new PareError('bad-option', `${what}.`);
  };
  if (!Number.isInteger(crop) || crop < 0) refuse(`crop is ${crop}, and must be a whole number of pixels`);
  if (!Number.isInteger(cutout) || cutout < 0) refuse(`cutout is ${cutout}, and must be a whole number of pixels`);
  if (!(rotate >= 0 && rotate <= 180)) refuse(`rotate is ${rotate}, and must be degrees from 0 to 180`);
  if (!(brightness >= 0)) refuse(`brightness is ${brightness}, and must be at least 0`);
  if (!(contrast >= 0 && contrast <= 1)) refuse(`contrast is ${contrast}, and must be from 0 to 1`);
  if (!(saturation >= 0 && saturation <= 1)) refuse(`saturation is ${saturation}, and must be from 0 to 1`);
  if (![fill].flat().every(Number.isFinite)) refuse('fill must be a number, or one a channel');
  return { ...options, kind: 'image' };
}

/** Writes a varied copy of the picture at `from[fromOffset]` to `to[toOffset]`. The two must not overlap. */
export type Augmenter = (
  from: Float32Array,
  fromOffset: number,
  to: Float32Array,
  toOffset: number,
  random: Random,
) => void;

/**
 * The function that varies pictures of `dims` [C, H, W]. The same numbers from `random` give the same bits.
 * @throws PareError `bad-option` when the options do not fit the pictures.
 */
export function augmenter(spec: Augmentation, dims: readonly number[]): Augmenter {
  const [channels, height, width] = dims as [number, number, number];
  const { crop = 0, rotate = 0, cutout = 0, flip, colour = {} } = spec;
  if (dims.length !== 3 || channels * height * width === 0) {
    throw new PareError('bad-option', `Pictures are varied as [C, H, W]; the input is [${dims.join(', ')}] a sample.`);
  }
  if (crop >= Math.min(height, width)) {
    throw new PareError('bad-option', `Pictures of ${height} by ${width} cannot be shifted by ${crop} pixels.`);
  }
  const { fill: given = 0 } = spec;
  const fill = typeof given === 'number' ? Array<number>(channels).fill(given) : given;
  if (fill.length !== channels) {
    throw new PareError('bad-option', `fill has ${fill.length} values for ${channels} channels.`);
  }
  const either = (random: Random, most: number): number => (2 * random.uniform() - 1) * most;
  const coin = (random: Random, wanted: boolean): boolean => wanted && random.uniform() < 0.5;

  return (from, fromOffset, to, toOffset, random) => {
    const place: Place = {
      mirrorX: coin(random, flip === 'horizontal' || flip === 'both'),
      mirrorY: coin(random, flip === 'vertical' || flip === 'both'),
      dx: crop ? random.integer(2 * crop + 1) - crop : 0,
      dy: crop ? random.integer(2 * crop + 1) - crop : 0,
      angle: rotate ? (either(random, rotate) * Math.PI) / 180 : 0,
    };
    const size = height * width;
    for (let c = 0; c < channels; c++) {
      const plane: Plane = { from, start: fromOffset + c * size, to, end: toOffset + c * size, height, width };
      if (place.angle === 0) move(plane, place, fill[c] as number);
      else turn(plane, place, fill[c] as number);
    }
    const picture = to.subarray(toOffset, toOffset + channels * size);
    if (colour.saturation && channels === 3) saturate(picture, size, 1 + either(random, colour.saturation));
    if (colour.contrast || colour.brightness) {
      tone(picture, 1 + either(random, colour.contrast ?? 0), either(random, colour.brightness ?? 0));
    }
    if (cutout) {
      const y = random.integer(height) - (cutout >> 1);
      const x = random.integer(width) - (cutout >> 1);
      const [left, right] = [Math.max(0, x), Math.min(width, x + cutout)];
      for (let c = 0; c < channels; c++) {
        for (let row = Math.max(0, y); row < Math.min(height, y + cutout); row++) {
          const start = c * size + row * width;
          picture.fill(fill[c] as number, start + left, start + right);
        }
      }
    }
  };
}

/** Where each pixel comes from. */
interface Place {
  readonly mirrorX: boolean;
  readonly mirrorY: boolean;
  readonly dx: number;
  readonly dy: number;
  /** Radians. */
  readonly angle: number;
}

/** One channel of a picture, and where its copy goes. */
interface Plane {
  readonly from: Float32Array;
  readonly start: number;
  readonly to: Float32Array;
  readonly end: number;
  readonly height: number;
  readonly width: number;
}

/** Mirrored and shifted by whole pixels: rows are copied. */
function move({ from, start, to, end, height, width }: Plane, place: Place, fill: number): void {
  const { dx, dy, mirrorX, mirrorY } = place;
  const left = Math.max(0, -dx);
  const right = Math.min(width, width - dx);
  for (let y = 0; y < height; y++) {
    const row = y + dy;
    const out = end + y * width;
    if (row < 0 || row >= height) {
      to.fill(fill, out, out + width);
      continue;
    }
    const source = start + (mirrorY ? height - 1 - row : row) * width;
    // Pixel x comes from x + dx, counted from the other end in a mirrored picture.
    const step = mirrorX ? -1 : 1;
    const first = source + (mirrorX ? width - 1 - dx : dx);
    for (let x = 0; x < left; x++) to[out + x] = fill;
    for (let x = left, at = first + step * left; x < right; x++, at += step) to[out + x] = from[at] as number;
    for (let x = right; x < width; x++) to[out + x] = fill;
  }
}

/** Turned about the middle as well, between pixels bilinear. */
function turn({ from, start, to, end, height, width }: Plane, place: Place, fill: number): void {
  const { dx, dy, mirrorX, mirrorY, angle } = place;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [middleY, middleX] = [(height - 1) / 2, (width - 1) / 2];
  const pixel = (y: number, x: number): number => {
    if (y < 0 || y >= height || x < 0 || x >= width) return fill;
    return from[start + (mirrorY ? height - 1 - y : y) * width + (mirrorX ? width - 1 - x : x)] as number;
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sy = middleY + cos * (y - middleY) - sin * (x - middleX) + dy;
      const sx = middleX + sin * (y - middleY) + cos * (x - middleX) + dx;
      const [top, left] = [Math.floor(sy), Math.floor(sx)];
      const [v, u] = [sy - top, sx - left];
      const above = pixel(top, left) * (1 - u) + pixel(top, left + 1) * u;
      const below = pixel(top + 1, left) * (1 - u) + pixel(top + 1, left + 1) * u;
      to[end + y * width + x] = above * (1 - v) + below * v;
    }
  }
}

function saturate(picture: Float32Array, size: number, scale: number): void {
  for (let i = 0; i < size; i++) {
    const [r, g, b] = [picture[i] as number, picture[size + i] as number, picture[2 * size + i] as number];
    const grey = (r + g + b) / 3;
    picture[i] = grey + scale * (r - grey);
    picture[size + i] = grey + scale * (g - grey);
    picture[2 * size + i] = grey + scale * (b - grey);
  }
}

/** Contrast about the mean, then brightness. */
function tone(picture: Float32Array, contrast: number, brightness: number): void {
  let mean = 0;
  for (let i = 0; i < picture.length; i++) mean += picture[i] as number;
  mean /= picture.length;
  const shift = mean * (1 - contrast) + brightness;
  for (let i = 0; i < picture.length; i++) picture[i] = (picture[i] as number) * contrast + shift;
}

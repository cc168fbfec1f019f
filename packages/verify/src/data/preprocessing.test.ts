import { describe, expect, it } from 'vitest';
import { parsePreprocessing, pixelsToTensor, resizedSize } from './preprocessing.js';

/** Two rows of three RGB pixels, values 0..17. */
const pixels = { data: Uint8Array.from({ length: 18 }, (_, i) => i), height: 2, width: 3, channels: 3 };

describe('pixels to tensor', () => {
  it('lays out channels first, scaled and normalized', () => {
    const spec = { mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 1] };
    const tensor = pixelsToTensor(pixels, spec);
    expect(tensor.dims).toEqual([3, 2, 3]);
    // Pixel (1, 2) has the values 15, 16, 17.
    const at = (c: number): number => (tensor.data as Float32Array)[c * 6 + 5] as number;
    for (const c of [0, 1, 2]) {
      expect(at(c)).toBeCloseTo(((15 + c) / 255 - (spec.mean[c] as number)) / (spec.std[c] as number), 6);
    }
  });
  it('lays out channels last, or reversed, or as bytes', () => {
    const last = pixelsToTensor(pixels, { layout: 'NHWC', scale: 1 });
    expect(last.dims).toEqual([2, 3, 3]);
    expect(Array.from(last.data as Float32Array)).toEqual(Array.from(pixels.data));
    const reversed = pixelsToTensor(pixels, { layout: 'NHWC', scale: 1, channels: 'BGR' });
    expect(Array.from(reversed.data as Float32Array).slice(0, 6)).toEqual([2, 1, 0, 5, 4, 3]);
    expect(pixelsToTensor(pixels, { dtype: 'uint8', layout: 'NHWC' })).toEqual({
      dtype: 'uint8',
      dims: [2, 3, 3],
      data: pixels.data,
    });
  });
  it('crops the centre, and pads what is smaller', () => {
    const cropped = pixelsToTensor(pixels, { crop: { height: 2, width: 1 }, scale: 1 });
    expect(Array.from(cropped.data as Float32Array)).toEqual([3, 12, 4, 13, 5, 14]);
    const padded = pixelsToTensor(
      { data: Uint8Array.of(9, 9, 9), height: 1, width: 1, channels: 3 },
      { crop: 3, scale: 1 },
    );
    expect(Array.from(padded.data as Float32Array).filter((v) => v === 9).length).toBe(3);
    expect((padded.data as Float32Array)[4]).toBe(9);
  });
  it('turns colours grey, and grey into colours', () => {
    const white = { data: Uint8Array.of(255, 255, 255, 255, 0, 0), height: 1, width: 2, channels: 3 };
    expect(Array.from(pixelsToTensor(white, { channels: 'GRAY', scale: 1 }).data as Float32Array)).toEqual([255, 76]);
    const grey = { data: Uint8Array.of(7), height: 1, width: 1, channels: 1 };
    expect(Array.from(pixelsToTensor(grey, { scale: 1 }).data as Float32Array)).toEqual([7, 7, 7]);
  });
  it('says when mean and channels do not fit', () => {
    expect(() => pixelsToTensor(pixels, { mean: [1, 2] })).toThrow(/2 values of "mean" for 3 channels/);
  });
});

describe('Hugging Face configurations', () => {
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];
  it('CLIP: shorter edge, crop, bicubic', () => {
    const config = {
      feature_extractor_type: 'CLIPFeatureExtractor',
      crop_size: { height: 224, width: 224 },
      do_center_crop: true,
      do_resize: true,
      do_normalize: true,
      image_mean: mean,
      image_std: std,
      resample: 3,
      size: { shortest_edge: 224 },
    };
    expect(parsePreprocessing(config)).toEqual({
      resize: 224,
      crop: { height: 224, width: 224 },
      interpolation: 'bicubic',
      scale: 1 / 255,
      mean,
      std,
    });
  });
  it('ViT: exactly, from a plain number', () => {
    const config = { do_resize: true, do_normalize: true, image_mean: mean, image_std: std, resample: 2, size: 224 };
    expect(parsePreprocessing(config)).toMatchObject({
      resize: { height: 224, width: 224 },
      interpolation: 'bilinear',
    });
  });
  it('old CLIP: a plain number with a crop is the shorter edge', () => {
    expect(parsePreprocessing({ do_resize: true, do_center_crop: true, crop_size: 224, size: 256 })).toMatchObject({
      resize: 256,
      crop: 224,
    });
  });
  it('ConvNeXt: enlarged by the crop share below 384, exactly from there on', () => {
    const config = { image_processor_type: 'ConvNextImageProcessor', do_resize: true, crop_pct: 0.875 };
    expect(parsePreprocessing({ ...config, size: { shortest_edge: 224 } })).toMatchObject({ resize: 256, crop: 224 });
    const large = parsePreprocessing({ ...config, size: { shortest_edge: 384 } });
    expect(large.resize).toEqual({ height: 384, width: 384 });
    expect(large.crop).toBeUndefined();
  });
  it('without rescaling and with reversed channels', () => {
    const config = {
      do_resize: false,
      do_rescale: false,
      do_normalize: false,
      do_flip_channel_order: true,
      image_mean: mean,
    };
    expect(parsePreprocessing(config)).toEqual({ scale: 1, channels: 'BGR' });
  });
  it('refuses what it cannot do', () => {
    expect(() => parsePreprocessing({ do_resize: true, size: { longest_edge: 800 } })).toThrow(
      /size that Pare does not know/,
    );
    expect(() => parsePreprocessing({ do_pad: true })).toThrow(/do_pad/);
  });
});

describe('own keys', () => {
  it.each([
    [{ resise: 3 }, /has the key "resise"; known are input, resize/],
    [{ resize: -1 }, /bad value for "resize": -1/],
    [{ resize: { height: 2 } }, /bad value for "resize"/],
    [{ std: [0, 1, 1] }, /bad value for "std"/],
    [{ layout: 'CHW' }, /bad value for "layout"/],
    [{ dtype: 'uint8', scale: 1 }, /cannot be scaled/],
    [[], /must be a JSON object/],
    [null, /must be a JSON object/],
  ])('%j is refused', (json, message) => {
    expect(() => parsePreprocessing(json)).toThrow(message);
  });
});

it('resizes the shorter edge as torchvision does: the longer one rounded down', () => {
  expect(resizedSize(256, 333, 500)).toEqual({ height: 256, width: 384 });
  expect(resizedSize(256, 500, 333)).toEqual({ height: 384, width: 256 });
  expect(resizedSize({ height: 5, width: 6 }, 1, 1)).toEqual({ height: 5, width: 6 });
});

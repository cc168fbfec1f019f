import { type Random, seededRandom } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { type AugmentOptions, augment, augmenter } from './augment.js';

const FILL = -9;

/** Values of `uniform`, in turn; integers follow from them. */
const script = (...values: number[]): Random => {
  const uniform = (): number => values.shift() ?? expect.fail('drew more numbers than expected');
  return {
    uniform,
    integer: (below) => Math.floor(uniform() * below),
    normal: () => expect.fail('drew a normal number'),
  };
};

const vary = (options: AugmentOptions, dims: number[], picture: ArrayLike<number>, random: Random): number[] => {
  const to = new Float32Array(picture.length + 2).fill(7);
  // With room on both sides, that must not be touched.
  augmenter(augment({ fill: FILL, ...options }), dims)(
    Float32Array.from([0, ...Array.from(picture)]),
    1,
    to,
    1,
    random,
  );
  expect([to[0], to.at(-1)]).toEqual([7, 7]);
  return [...to.subarray(1, -1)];
};

// prettier-ignore
const picture = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

describe('each change alone', () => {
  it('mirrors', () => {
    const dims = [1, 3, 4];
    expect(vary({ flip: 'horizontal' }, dims, picture, script(0.4))).toEqual([4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9]);
    expect(vary({ flip: 'horizontal' }, dims, picture, script(0.6))).toEqual(picture);
    expect(vary({ flip: 'vertical' }, dims, picture, script(0.4))).toEqual([9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4]);
    expect(vary({ flip: 'both' }, dims, picture, script(0.4, 0.4))).toEqual([...picture].reverse());
  });

  it('shifts, and fills what comes in', () => {
    // 0 of 3 places is -1, the last +1; x is drawn first.
    expect(vary({ crop: 1 }, [1, 3, 4], picture, script(0.99, 0.0))).toEqual([
      FILL,
      FILL,
      FILL,
      FILL,
      2,
      3,
      4,
      FILL,
      6,
      7,
      8,
      FILL,
    ]);
    expect(vary({ crop: 1 }, [1, 3, 4], picture, script(0.5, 0.5))).toEqual(picture);
  });

  it('fills each channel with its own value', () => {
    const two = [...picture, ...picture.map((v) => v * 100)];
    expect(vary({ crop: 2, fill: [-1, -2] }, [2, 3, 4], two, script(0, 0.5))).toEqual([
      -1, -1, 1, 2, -1, -1, 5, 6, -1, -1, 9, 10, -2, -2, 100, 200, -2, -2, 500, 600, -2, -2, 900, 1000,
    ]);
  });

  it('turns by a right angle exactly', () => {
    const square = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    // The largest draw is a quarter turn clockwise, the smallest one back.
    const turned = vary({ rotate: 90 }, [1, 3, 3], square, script(1));
    const clockwise = [7, 4, 1, 8, 5, 2, 9, 6, 3];
    const back = vary({ rotate: 90 }, [1, 3, 3], square, script(0));
    for (const [i, v] of [...turned].entries()) expect(v).toBeCloseTo(clockwise[i] as number, 4);
    for (const [i, v] of [...back].entries()) expect(v).toBeCloseTo(clockwise[8 - i] as number, 4);
  });

  it('turns a smooth picture smoothly', () => {
    // A plane stays a plane: value a*x + b*y turned is known everywhere inside.
    const side = 15;
    const plane = Float32Array.from(
      { length: side * side },
      (_, i) => 2 * ((i % side) - 7) - 3 * (Math.floor(i / side) - 7),
    );
    const angle = (30 * Math.PI) / 180;
    const turned = vary({ rotate: 30 }, [1, side, side], plane, script(1));
    for (let y = 4; y < 11; y++) {
      for (let x = 4; x < 11; x++) {
        const sx = Math.sin(angle) * (y - 7) + Math.cos(angle) * (x - 7);
        const sy = Math.cos(angle) * (y - 7) - Math.sin(angle) * (x - 7);
        expect(turned[y * side + x]).toBeCloseTo(2 * sx - 3 * sy, 4);
      }
    }
  });

  it('blanks a square, cut off at the border', () => {
    // Middle at row 0, column 3: rows -1 to 0, columns 2 to 3.
    expect(vary({ cutout: 2 }, [1, 3, 4], picture, script(0, 0.99))).toEqual([
      1,
      2,
      FILL,
      FILL,
      5,
      6,
      7,
      8,
      9,
      10,
      11,
      12,
    ]);
  });

  it('changes brightness, contrast and saturation', () => {
    const close = (actual: number[], wanted: number[]): void => {
      for (const [i, v] of actual.entries()) expect(v).toBeCloseTo(wanted[i] as number, 5);
    };
    // Contrast and brightness are both drawn when either is wanted.
    close(
      vary({ colour: { brightness: 0.5 } }, [1, 3, 4], picture, script(0.5, 1)),
      picture.map((v) => v + 0.5),
    );
    close(
      vary({ colour: { contrast: 0.2 } }, [1, 3, 4], picture, script(0, 0.5)),
      picture.map((v) => 6.5 + 0.8 * (v - 6.5)),
    );
    close(vary({ colour: { saturation: 1 } }, [3, 1, 2], [1, 2, 3, 4, 8, 9], script(0)), [4, 5, 4, 5, 4, 5]);
    close(vary({ colour: { saturation: 1 } }, [3, 1, 2], [1, 2, 3, 4, 8, 9], script(1)), [-2, -1, 2, 3, 12, 13]);
  });
});

describe('all together', () => {
  const options: AugmentOptions = {
    flip: 'both',
    crop: 3,
    rotate: 15,
    cutout: 4,
    colour: { brightness: 0.3, contrast: 0.3, saturation: 0.5 },
  };
  const source = Float32Array.from({ length: 3 * 12 * 12 }, seededRandom(1).normal);

  it('gives the same bits for the same seed, and others for another', () => {
    const once = vary(options, [3, 12, 12], source, seededRandom(5));
    expect(vary(options, [3, 12, 12], source, seededRandom(5))).toEqual(once);
    expect(vary(options, [3, 12, 12], source, seededRandom(6))).not.toEqual(once);
    expect(once.every(Number.isFinite)).toBe(true);
  });

  it('shifts and mirrors as rotation by nothing does', () => {
    for (let seed = 0; seed < 20; seed++) {
      const plain = vary({ flip: 'both', crop: 3 }, [3, 12, 12], source, seededRandom(seed));
      const turned = vary({ flip: 'both', crop: 3, rotate: 1e-300 }, [3, 12, 12], source, seededRandom(seed));
      expect(turned).toEqual(plain);
    }
  });

  it('draws every shift equally often', () => {
    const counts = new Map<number, number>();
    const point = new Float32Array(9 * 9);
    point[40] = 1;
    for (let seed = 0; seed < 5000; seed++) {
      const at = vary({ crop: 2 }, [1, 9, 9], point, seededRandom(seed)).indexOf(1);
      counts.set(at, (counts.get(at) ?? 0) + 1);
    }
    expect(counts.size).toBe(25);
    const chi2 = [...counts.values()].reduce((sum, n) => sum + (n - 200) ** 2 / 200, 0);
    // 24 degrees of freedom: above 51.2 once in a thousand.
    expect(chi2).toBeLessThan(51.2);
  });
});

it.each<[AugmentOptions, string]>([
  [{ crop: -1 }, 'crop is -1'],
  [{ cutout: 1.5 }, 'cutout is 1.5'],
  [{ rotate: 200 }, 'rotate is 200'],
  [{ colour: { contrast: 2 } }, 'contrast is 2'],
  [{ colour: { brightness: Number.NaN } }, 'brightness is NaN'],
  [{ fill: [0, Number.NaN] }, 'fill must be a number'],
])('refuses %j', (options, message) => {
  expect(() => augment(options)).toThrow(message);
});

it('refuses pictures that do not fit', () => {
  expect(() => augmenter(augment({ crop: 8 }), [1, 8, 8])).toThrow('cannot be shifted by 8 pixels');
  expect(() => augmenter(augment({ fill: [1, 2] }), [3, 8, 8])).toThrow('fill has 2 values for 3 channels');
  expect(() => augmenter(augment({}), [8, 8])).toThrow('[C, H, W]; the input is [8, 8] a sample');
});

import { type ConvGeometry, inputDims, outputDims, positions, weightDims } from '../src/autodiff/conv/geometry.js';

/** dx and dw of y = Conv(x, w) by definition, in float64: one multiplication at a time. */
export function convGradients(
  c: ConvGeometry,
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  g: ArrayLike<number>,
): { dx: Float64Array; dw: Float64Array } {
  const [xs, ws, ys] = [inputDims(c), weightDims(c), outputDims(c)].map(strides) as [number[], number[], number[]];
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(w.length);
  for (let n = 0; n < c.batch; n++) {
    for (let group = 0; group < c.groups; group++) {
      for (let f = group * c.filters; f < (group + 1) * c.filters; f++) {
        for (const p of positions(c.outputs)) {
          const at = index(ys, [n, f, ...p]);
          for (let k = 0; k < c.channels; k++) {
            for (const t of positions(c.kernel)) {
              const q = t.map((v, i) => p[i]! * c.strides[i]! + v * c.dilations[i]! - c.begin[i]!);
              if (q.some((v, i) => v < 0 || v >= c.inputs[i]!)) continue;
              const from = index(xs, [n, group * c.channels + k, ...q]);
              const by = index(ws, [f, k, ...t]);
              dx[from]! += g[at]! * w[by]!;
              dw[by]! += g[at]! * x[from]!;
            }
          }
        }
      }
    }
  }
  return { dx, dw };
}

function strides(dims: readonly number[]): number[] {
  const result = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) result[i] = result[i + 1]! * dims[i + 1]!;
  return result;
}

const index = (by: readonly number[], at: readonly number[]): number => at.reduce((sum, v, i) => sum + v * by[i]!, 0);

import type { KernelMemory, Kernels } from './kernels.js';

const f = Math.fround;

/**
 * The kernels once more in plain TypeScript: the oracle of the WebAssembly ones. Float32 arithmetic is spelled with
 * Math.fround after each operation, which rounds as float32 hardware does, so both agree bit for bit.
 */
export function referenceMemory(bytes: number): KernelMemory {
  const buffer = new ArrayBuffer(bytes);
  return { buffer, kernels: referenceKernels(buffer) };
}

function referenceKernels(buffer: ArrayBuffer): Kernels {
  const floats = (at: number, n: number): Float32Array => new Float32Array(buffer, at, n);
  return {
    sgd(p, g, n, lr, scale, l2) {
      const [ps, gs] = [floats(p, n), floats(g, n)];
      [lr, scale, l2] = [f(lr), f(scale), f(l2)];
      for (let i = 0; i < n; i++) {
        const pi = ps[i] as number;
        ps[i] = pi - f(lr * f(f(scale * (gs[i] as number)) + f(l2 * pi)));
      }
    },

    momentum(p, g, v, n, lr, scale, l2, mu, ahead, along) {
      const [ps, gs, vs] = [floats(p, n), floats(g, n), floats(v, n)];
      [lr, scale, l2, mu, ahead, along] = [f(lr), f(scale), f(l2), f(mu), f(ahead), f(along)];
      for (let i = 0; i < n; i++) {
        const pi = ps[i] as number;
        const gi = f(f(scale * (gs[i] as number)) + f(l2 * pi));
        const vi = f(f(mu * (vs[i] as number)) + gi);
        vs[i] = vi;
        ps[i] = pi - f(lr * f(f(ahead * gi) + f(along * vi)));
      }
    },

    adam(p, g, m, v, n, rate, scale, l2, keep, rest1, beta2, rest2, root, eps) {
      const [ps, gs, ms, vs] = [floats(p, n), floats(g, n), floats(m, n), floats(v, n)];
      [rate, scale, l2, keep] = [f(rate), f(scale), f(l2), f(keep)];
      [rest1, beta2, rest2, root, eps] = [f(rest1), f(beta2), f(rest2), f(root), f(eps)];
      for (let i = 0; i < n; i++) {
        const pi = ps[i] as number;
        const gi = f(f(scale * (gs[i] as number)) + f(l2 * pi));
        const m0 = ms[i] as number;
        const mi = f(m0 + f(rest1 * f(gi - m0)));
        ms[i] = mi;
        const vi = f(f(beta2 * (vs[i] as number)) + f(f(rest2 * gi) * gi));
        vs[i] = vi;
        const under = f(f(root * f(Math.sqrt(vi))) + eps);
        ps[i] = f(keep * pi) - f(f(rate * mi) / under);
      }
    },

    accumulate(y, x, n, scale) {
      const [ys, xs] = [floats(y, n), floats(x, n)];
      scale = f(scale);
      for (let i = 0; i < n; i++) ys[i] = (ys[i] as number) + f(scale * (xs[i] as number));
    },

    blend(y, x, n, weight) {
      const [ys, xs] = [floats(y, n), floats(x, n)];
      weight = f(weight);
      for (let i = 0; i < n; i++) {
        const yi = ys[i] as number;
        ys[i] = yi + f(weight * f((xs[i] as number) - yi));
      }
    },

    mask(x, keep, n) {
      const xs = floats(x, n);
      const keeps = new Uint8Array(buffer, keep, n);
      for (let i = 0; i < n; i++) if (keeps[i] === 0) xs[i] = 0;
    },

    sumOfSquares(x, n) {
      const xs = floats(x, n);
      const [a, b] = [new Float64Array(4), new Float64Array(4)];
      for (let i = 0; i < n; i++) {
        const xi = xs[i] as number;
        (i % 2 === 0 ? a : b)[(i >> 1) % 4]! += xi * xi;
      }
      const pairwise = ([s0, s1, s2, s3]: Float64Array): number => s0! + s1! + (s2! + s3!);
      return pairwise(a) + pairwise(b);
    },

    firstNonFinite: (x, n) => floats(x, n).findIndex((v) => !Number.isFinite(v)),
  };
}

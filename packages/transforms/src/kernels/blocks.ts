/**
 * Blockwise quantization of a matrix x[rows, cols]: every run of `size` elements along one axis shares a scale (and a zero
 * point). The last block of a run may be shorter.
 */
export interface BlockSpec {
  rows: number;
  cols: number;
  /** The axis along which blocks run: 0 down the columns (MatMul weights [K, N]), 1 along the rows (embeddings). */
  axis: 0 | 1;
  bits: 2 | 4 | 8;
  /** Elements of a block, a multiple of 16. */
  size: number;
  /** No zero point (the middle of the range is zero), else an unsigned integer zero point a block. */
  symmetric: boolean;
  /**
   * `blocks`: codes packed along the block axis, each run padded to whole blocks, scales [run][block]: MatMulNBits and,
   * with axis 1, GatherBlockQuantized. `tensor`: codes packed in the order of the elements of x, scales in the order of
   * the tensor of blocks: DequantizeLinear with block_size.
   */
  layout: 'blocks' | 'tensor';
  /** Store symmetric codes as unsigned with the zero point 2^(bits-1) (default), or in two's complement around 0. */
  signed?: boolean;
}

/** What a blockwise quantization makes: x ~ scale * (code - zero point). */
export interface Blocks {
  /** Codes of 2, 4 or 8 bits, low bits first. */
  packed: Uint8Array;
  /** One a block. May be negative when symmetric: the sign lets the largest element use the longer side of the range. */
  scales: Float32Array;
  /** One a block, a byte each (see packZeroPoints); 2^(bits-1) when symmetric. */
  zeroPoints: Uint8Array;
  /** Sum of squared errors, and sum of squares of x: their ratio is the noise-to-signal ratio. */
  noise: number;
  signal: number;
}

type Candidates = readonly number[];

/**
 * Trial scales relative to the one that just spans the block, by block size. Each list is what a greedy choice among 37
 * ratios (0.3 to 1.2) picks to lower the mean relative error over Gaussian, Laplace and Student-t(4) weights, given that
 * the winner is refitted: four of them come within 0.3 % of all 37. Bigger blocks hold bigger outliers and clip more.
 */
const CANDIDATES: Record<'asymmetric' | 'symmetric', Record<2 | 4 | 8, Record<number, Candidates>>> = {
  asymmetric: {
    2: {
      16: [0.825, 1.125, 0.675, 0.925],
      32: [0.725, 0.875, 0.6, 1.15],
      64: [0.625, 0.75, 0.525, 0.875],
      128: [0.55, 0.45, 0.65, 0.4],
      256: [0.475, 0.375, 0.575, 0.3],
    },
    4: {
      16: [1.025, 0.975, 1.125, 1.2],
      32: [0.975, 1.05, 1.125, 0.95],
      64: [0.95, 1.025, 0.9, 0.975],
      128: [0.925, 0.975, 0.875, 0.9],
      256: [0.875, 0.925, 0.825, 0.85],
    },
    8: { 16: [1, 1.015, 1.03] },
  },
  symmetric: {
    2: {
      16: [0.875, 1.125, 0.7, -0.9],
      32: [0.825, -0.85, 0.65, 1],
      64: [0.725, -0.75, 0.55, 0.875],
      128: [0.65, -0.65, 0.475, 0.775],
      256: [0.55, -0.575, 0.375, 0.7],
    },
    4: {
      16: [0.975, 1.125, 1.025, 0.925],
      32: [0.975, 1.125, 0.925, 1.025],
      64: [0.95, 0.9, 1.025, 1.125],
      128: [0.9, 0.975, 0.825, 0.875],
      256: [0.85, 0.775, 0.925, 0.725],
    },
    8: { 16: [1, 1.015, 1.04] },
  },
};

/** The trial scales for a specification: the list of the largest tabulated block size that is not larger. */
export function candidateRatios(spec: BlockSpec): Float32Array {
  const bySize = CANDIDATES[spec.symmetric ? 'symmetric' : 'asymmetric'][spec.bits];
  let found: Candidates = [1];
  for (const [size, ratios] of Object.entries(bySize)) if (Number(size) <= spec.size) found = ratios;
  return Float32Array.from(found);
}

/** Blocks along one run. */
export function blocksPerRun(spec: Pick<BlockSpec, 'rows' | 'cols' | 'axis' | 'size'>): number {
  return Math.ceil((spec.axis === 0 ? spec.rows : spec.cols) / spec.size);
}

/**
 * Zero points packed as the weights are, low bits first; every run of `perRun` starts at a byte. MatMulNBits and
 * GatherBlockQuantized want runs of blocksPerRun, DequantizeLinear one run of all.
 */
export function packZeroPoints(zeroPoints: Uint8Array, bits: 2 | 4 | 8, perRun = zeroPoints.length): Uint8Array {
  if (bits === 8 || perRun === 0) return zeroPoints;
  const per = 8 / bits;
  const stride = Math.ceil(perRun / per);
  const out = new Uint8Array((zeroPoints.length / perRun) * stride);
  for (let i = 0, run = 0; i < zeroPoints.length; run += stride) {
    for (let k = 0; k < perRun; k++, i++) {
      out[run + Math.floor(k / per)]! |= zeroPoints[i]! << ((k % per) * bits);
    }
  }
  return out;
}

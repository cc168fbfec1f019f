// One step of an optimizer over n parameters p with gradients g, in place. All begin with g' = scale * g + l2 * p: the scale
// clips and averages, the L2 penalty is the weight decay that is not decoupled. State buffers start as zeros.

/** p -= lr * g'. */
export function sgd(p: usize, g: usize, n: i32, lr: f32, scale: f32, l2: f32): void {
  const lr4 = f32x4.splat(lr);
  const scale4 = f32x4.splat(scale);
  const l24 = f32x4.splat(l2);
  for (const end = p + (<usize>n << 2); p < end; p += 16, g += 16) {
    const p4 = v128.load(p);
    const g4 = f32x4.add(f32x4.mul(scale4, v128.load(g)), f32x4.mul(l24, p4));
    v128.store(p, f32x4.sub(p4, f32x4.mul(lr4, g4)));
  }
}

/** v = mu * v + g', then p -= lr * (ahead * g' + along * v): heavy ball with (0, 1), Nesterov with (1, mu). */
export function momentum(
  p: usize,
  g: usize,
  v: usize,
  n: i32,
  lr: f32,
  scale: f32,
  l2: f32,
  mu: f32,
  ahead: f32,
  along: f32,
): void {
  const lr4 = f32x4.splat(lr);
  const scale4 = f32x4.splat(scale);
  const l24 = f32x4.splat(l2);
  const mu4 = f32x4.splat(mu);
  const ahead4 = f32x4.splat(ahead);
  const along4 = f32x4.splat(along);
  for (const end = p + (<usize>n << 2); p < end; p += 16, g += 16, v += 16) {
    const p4 = v128.load(p);
    const g4 = f32x4.add(f32x4.mul(scale4, v128.load(g)), f32x4.mul(l24, p4));
    const v4 = f32x4.add(f32x4.mul(mu4, v128.load(v)), g4);
    v128.store(v, v4);
    const u4 = f32x4.add(f32x4.mul(ahead4, g4), f32x4.mul(along4, v4));
    v128.store(p, f32x4.sub(p4, f32x4.mul(lr4, u4)));
  }
}

/**
 * m += (1 - beta1) * (g' - m), v = beta2 * v + (1 - beta2) * g' * g', then p = keep * p - rate * m / (root * sqrt(v) + eps).
 * `rest1`, `rest2` are 1 - beta1 and 1 - beta2; `rate` is lr / (1 - beta1^t), `root` is 1 / sqrt(1 - beta2^t); `keep` is
 * 1 - lr * decay for decoupled decay.
 */
export function adam(
  p: usize,
  g: usize,
  m: usize,
  v: usize,
  n: i32,
  rate: f32,
  scale: f32,
  l2: f32,
  keep: f32,
  rest1: f32,
  beta2: f32,
  rest2: f32,
  root: f32,
  eps: f32,
): void {
  const rate4 = f32x4.splat(rate);
  const scale4 = f32x4.splat(scale);
  const l24 = f32x4.splat(l2);
  const keep4 = f32x4.splat(keep);
  const rest14 = f32x4.splat(rest1);
  const beta24 = f32x4.splat(beta2);
  const rest24 = f32x4.splat(rest2);
  const root4 = f32x4.splat(root);
  const eps4 = f32x4.splat(eps);
  for (const end = p + (<usize>n << 2); p < end; p += 16, g += 16, m += 16, v += 16) {
    const p4 = v128.load(p);
    const g4 = f32x4.add(f32x4.mul(scale4, v128.load(g)), f32x4.mul(l24, p4));
    const m0 = v128.load(m);
    const m4 = f32x4.add(m0, f32x4.mul(rest14, f32x4.sub(g4, m0)));
    v128.store(m, m4);
    const v4 = f32x4.add(f32x4.mul(beta24, v128.load(v)), f32x4.mul(f32x4.mul(rest24, g4), g4));
    v128.store(v, v4);
    const under = f32x4.add(f32x4.mul(root4, f32x4.sqrt(v4)), eps4);
    v128.store(p, f32x4.sub(f32x4.mul(keep4, p4), f32x4.div(f32x4.mul(rate4, m4), under)));
  }
}

/** A seeded stream of random numbers: the same seed gives the same numbers on every platform. */
export interface Random {
  /** Uniform in [0, 1), 32 bits of resolution. */
  uniform(): number;
  /** Integer, uniform in [0, below). */
  integer(below: number): number;
  /** Standard normal. */
  normal(): number;
}

/** The generator sfc32 (Chris Doty-Humphrey, PractRand), seeded with `seed` and mixed for 12 rounds. */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 | 0;
  let b = 0x243f6a88 | 0;
  let c = Math.floor(seed / 4294967296) | 0;
  let counter = seed | 0;
  const next = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  const uniform = (): number => next() / 4294967296;
  return {
    uniform,
    integer: (below) => Math.floor(uniform() * below),
    // Box and Muller; the second value of the pair is not kept, so that the stream has no hidden state.
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  };
}

/** Shuffles `items` in place (Fisher and Yates) and returns it. */
export function shuffle<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    const t = items[i] as T;
    items[i] = items[j] as T;
    items[j] = t;
  }
  return items;
}

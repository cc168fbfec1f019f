import type { Feeds, HostTensor, Session, TypedArray } from '@pare/core';
import { isNumeric, toNumbers } from '@pare/core';
import type { BitComparison, Reproducibility } from '../evidence.js';

type RunOutputs = Readonly<Record<string, HostTensor>>;

/**
 * Does `session` give the same bits for the same input twice, and do sessions with other thread counts? `open` opens the same
 * model with so many threads; those sessions are closed again.
 * @throws PareError `engine`, `aborted`.
 */
export async function measureReproducibility(
  session: Session,
  feeds: readonly Feeds[],
  threadCounts: readonly number[],
  open: (threads: number) => Promise<Session>,
): Promise<Reproducibility> {
  const base = await runAll(session, feeds);
  const again = await runAll(session, feeds);
  const threads: Reproducibility['threads'][number][] = [];
  for (const count of threadCounts) {
    const other = await open(count);
    try {
      threads.push({ threads: count, ...compareRuns(base, await runAll(other, feeds)) });
    } finally {
      await other.close();
    }
  }
  return { runs: feeds.length, repeated: compareRuns(base, again), threads };
}

async function runAll(session: Session, feeds: readonly Feeds[]): Promise<RunOutputs[]> {
  const outputs: RunOutputs[] = [];
  for (const feed of feeds) outputs.push(await session.run(feed));
  return outputs;
}

function compareRuns(a: readonly RunOutputs[], b: readonly RunOutputs[]): BitComparison {
  return worstOf(a.map((outputs, i) => compareBits(outputs, b[i] as RunOutputs)));
}

/** Compares two runs bit by bit. */
export function compareBits(
  a: Readonly<Record<string, HostTensor>>,
  b: Readonly<Record<string, HostTensor>>,
): BitComparison {
  let identical = true;
  let maxAbs: number | null = 0;
  for (const [name, x] of Object.entries(a)) {
    const y = b[name];
    if (y && sameBits(x, y)) continue;
    identical = false;
    if (!y || !isNumeric(x.dtype) || x.data.length !== y.data.length) return { identical, maxAbs: null };
    const u = toNumbers(x);
    const v = toNumbers(y);
    for (let i = 0; i < u.length; i++) {
      if (Object.is(u[i], v[i])) continue;
      const difference = Math.abs((u[i] as number) - (v[i] as number));
      if (!Number.isFinite(difference)) return { identical, maxAbs: null };
      maxAbs = Math.max(maxAbs, difference);
    }
  }
  return { identical, maxAbs };
}

function sameBits(a: HostTensor, b: HostTensor): boolean {
  if (a.dtype !== b.dtype || a.data.length !== b.data.length) return false;
  if (!ArrayBuffer.isView(a.data)) return (a.data as readonly string[]).every((s, i) => s === b.data[i]);
  const x = bytesOf(a.data as TypedArray);
  const y = bytesOf(b.data as TypedArray);
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  return true;
}

function bytesOf(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Folds comparisons into one: identical when all are, the largest difference. */
export function worstOf(comparisons: readonly BitComparison[]): BitComparison {
  return {
    identical: comparisons.every((c) => c.identical),
    maxAbs: comparisons.some((c) => c.maxAbs === null)
      ? null
      : Math.max(0, ...comparisons.map((c) => c.maxAbs as number)),
  };
}

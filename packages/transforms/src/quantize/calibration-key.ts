import { type Feeds, type Model, PareError, serializeModel } from '@pare/core';

/** Identifies a calibration: SHA-256 of what it depends on, in hexadecimal. */
export interface CalibrationKey {
  readonly model: string;
  readonly data: string;
  readonly options: string;
}

export async function calibrationKey(
  model: Model,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  options: unknown,
): Promise<CalibrationKey> {
  const text = new TextEncoder();
  const ofModel = new ChainedHash();
  const { file, dataFiles } = serializeModel(model);
  for (const part of [file, ...dataFiles]) for await (const chunk of part.chunks()) await ofModel.add(chunk);
  const ofData = new ChainedHash();
  for await (const feeds of samples) {
    for (const [name, { dtype, dims, data }] of Object.entries(feeds)) {
      await ofData.add(text.encode(JSON.stringify([name, dtype, dims])));
      if (ArrayBuffer.isView(data)) await ofData.add(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      else await ofData.add(text.encode(JSON.stringify(data)));
    }
  }
  const ofOptions = new ChainedHash();
  await ofOptions.add(text.encode(JSON.stringify(options)));
  return { model: ofModel.hex(), data: ofData.hex(), options: ofOptions.hex() };
}

/** What differs between two keys, in words; undefined when they are equal. */
export function keyDifference(a: CalibrationKey, b: CalibrationKey): string | undefined {
  const words = { model: 'the model', data: 'the data', options: 'the options' } as const;
  const different = (Object.keys(words) as (keyof CalibrationKey)[]).filter((part) => a[part] !== b[part]);
  return different.length > 0 ? different.map((part) => words[part]).join(' and ') : undefined;
}

/** Hash of a sequence of pieces in bounded memory: each digest covers the one before (WebCrypto has no streaming digest). */
class ChainedHash {
  #digest = new Uint8Array(32);

  async add(piece: Uint8Array): Promise<void> {
    const { subtle } = globalThis.crypto ?? {};
    if (!subtle) {
      throw new PareError(
        'unsupported',
        'The calibration cache needs WebCrypto, which browsers give to https pages only.',
      );
    }
    const ofPiece = new Uint8Array(await subtle.digest('SHA-256', piece as Uint8Array<ArrayBuffer>));
    const both = new Uint8Array(64);
    both.set(this.#digest);
    both.set(ofPiece, 32);
    this.#digest = new Uint8Array(await subtle.digest('SHA-256', both));
  }

  hex(): string {
    return Array.from(this.#digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

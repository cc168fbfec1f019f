import { once } from 'node:events';
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import type { Model } from '../ir/model.js';
import { serializeModel } from '../write.js';

/** What a model takes as a file and as a download, in bytes, external data included. */
export interface CompressedSizes {
  readonly raw: number;
  /** Level 9. */
  readonly gzip: number;
  /** Quality 9: what a server can do on the fly; 11 is a few per cent smaller and ten times slower. */
  readonly brotli: number;
  /** Level 12. Undefined where Node has no Zstandard: before 22.15. */
  readonly zstd: number | undefined;
}

/**
 * The size of `model` as it would be written, and compressed by what the web knows: what pruning and weight sharing bring, in the
 * only unit in which they bring something everywhere. The bytes pass once through all compressors; memory is bounded by one tensor
 * and the compressors' windows.
 */
export async function compressedSizes(model: Model): Promise<CompressedSizes> {
  const { file, dataFiles } = serializeModel(model);
  const sizes = { raw: 0, gzip: 0, brotli: 0, zstd: 0 };
  const makers = Object.entries(COMPRESSORS).filter(([, make]) => make !== undefined);
  for (const one of [file, ...dataFiles]) {
    const compressors = makers.map(([name, make]) => {
      const stream = (make as () => Transform)();
      stream.on('data', (chunk: Uint8Array) => {
        sizes[name as keyof typeof COMPRESSORS] += chunk.length;
      });
      return stream;
    });
    for await (const chunk of one.chunks()) {
      sizes.raw += chunk.length;
      await Promise.all(compressors.map((stream) => stream.write(chunk) || once(stream, 'drain')));
    }
    await Promise.all(
      compressors.map((stream) => {
        const ended = once(stream, 'end');
        stream.end();
        return ended;
      }),
    );
  }
  return { ...sizes, zstd: COMPRESSORS.zstd ? sizes.zstd : undefined };
}

/** Zstandard came to Node with 22.15; the types are those of an older one. */
interface NewerZlib {
  readonly createZstdCompress?: (options: { params: Record<number, number> }) => Transform;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

const { createZstdCompress, constants }: NewerZlib = zlib as NewerZlib;

const COMPRESSORS: Readonly<Record<'gzip' | 'brotli' | 'zstd', (() => Transform) | undefined>> = {
  gzip: () => zlib.createGzip({ level: 9 }),
  brotli: () => zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 9 } }),
  zstd:
    createZstdCompress && (() => createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel ?? 100]: 12 } })),
};

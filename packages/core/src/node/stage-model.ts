import type { Model } from '../ir/model.js';

/** A model in the form in which ONNX Runtime opens it: bytes, or the path of a temporary file. */
export interface StagedModel {
  readonly model: Uint8Array | string;
  remove(): Promise<void>;
}

export async function stageModel(_model: Model, _signal?: AbortSignal): Promise<StagedModel> {
  throw new Error('needs the codec');
}

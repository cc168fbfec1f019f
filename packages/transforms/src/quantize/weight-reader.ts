import { type Tensor, viewBytes } from '@pare/core';

/**
 * Reads float32 weights one at a time into one buffer, where their source can fill it: a large model then costs the memory of
 * its largest weight, and none that waits for the garbage collector.
 */
export class WeightReader {
  #buffer = new Float32Array(0);

  /** Hands the elements of `tensor` to `use`, which must be done with them when it returns. */
  async with<T>(tensor: Tensor, use: (values: Float32Array) => T): Promise<T> {
    const { data } = tensor;
    if (data.kind !== 'reference' || !data.source.readSync) {
      return use(viewBytes('float32', await tensor.load()) as Float32Array);
    }
    const length = data.length / 4;
    if (this.#buffer.length < length) this.#buffer = new Float32Array(length);
    const values = this.#buffer.subarray(0, length);
    data.source.readSync(data.offset, new Uint8Array(values.buffer, 0, data.length));
    return use(values);
  }
}

import type { Sample } from '@pare/core';
import { dtypeInfo, type HostTensor, type TypedArray } from '@pare/core';

const encoder = new TextEncoder();

/** SHA-256 of `parts` one after the other, hex. */
export async function sha256(...parts: readonly Uint8Array[]): Promise<string> {
  let joined = parts[0] ?? new Uint8Array();
  if (parts.length > 1) {
    joined = new Uint8Array(parts.reduce((sum, p) => sum + p.byteLength, 0));
    let offset = 0;
    for (const part of parts) {
      joined.set(part, offset);
      offset += part.byteLength;
    }
  }
  const digest = await crypto.subtle.digest('SHA-256', joined as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join('');
}

/** Content hash of a sample's inputs: type, dims and elements, in the order of the input names. */
export function hashSample(sample: Sample): Promise<string> {
  const parts: Uint8Array[] = [];
  for (const name of Object.keys(sample.inputs).sort()) {
    const tensor = sample.inputs[name] as HostTensor;
    parts.push(encoder.encode(`${tensor.dtype}[${tensor.dims.join()}]\n`), bytesOf(tensor));
  }
  return sha256(...parts);
}

function bytesOf(tensor: HostTensor): Uint8Array {
  if (dtypeInfo(tensor.dtype).bits === 0) return encoder.encode(JSON.stringify(tensor.data));
  const data = tensor.data as TypedArray;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

import type { KernelMemory, Kernels } from './kernels.js';
import { KERNELS_WASM } from './kernels.wasm.js';

const PAGE = 65536;

let compiled: WebAssembly.Module | undefined;

/** The most bytes that one memory can have: pointers are 32 bits. */
export const LARGEST_MEMORY = 65536 * PAGE;

/**
 * A memory of at least `bytes` zeros that never grows, so that views of it stay valid, and the kernels in it. It is reserved,
 * not taken: the system gives a page when something is written there.
 */
export function wasmMemory(bytes: number): KernelMemory {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(KERNELS_WASM), (c) => c.charCodeAt(0)));
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE) });
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  return { buffer: memory.buffer, kernels: exports as unknown as Kernels };
}

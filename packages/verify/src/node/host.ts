import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import type { HostInfo } from '../evidence.js';

/** Instruction sets that decide which kernels run. */
const FLAGS =
  /^(avx2|avx512f|avx512_vnni|avx_vnni|avx_vnni_int8|avx512_bf16|avx512_fp16|amx_int8|amx_bf16|f16c|fma|asimd|asimddp|asimdhp|i8mm|bf16|sve|sve2)$/;

/** The machine that measures. `engine` is the engine's name. */
export function hostInfo(engine: string): HostInfo {
  const cpus = os.cpus();
  const { version } = createRequire(import.meta.url)('@pare/verify/package.json') as { version: string };
  return {
    cpu: cpus[0]?.model.trim() || os.machine(),
    cores: cpus.length,
    arch: process.arch,
    flags: cpuFlags(),
    memoryBytes: os.totalmem(),
    os: `${os.type()} ${os.release()}`,
    runtime: `Node.js ${process.versions.node}`,
    engine,
    pare: version,
  };
}

/** From the kernel, on Linux; empty elsewhere. */
function cpuFlags(): string[] {
  try {
    const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    return line.split(/\s+/).filter((flag) => FLAGS.test(flag));
  } catch {
    return [];
  }
}

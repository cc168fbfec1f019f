import { readFile } from 'node:fs/promises';
import os from 'node:os';

/**
 * Classes of processors that differ in how ONNX Runtime's 8-bit kernels compute.
 *
 * - `x64-avx2`, `x64-avx512`: `vpmaddubsw` adds two u8 x s8 products in int16 and saturates.
 * - `x64-vnni`: `vpdpbusd` (AVX-VNNI or AVX512-VNNI) adds four products in int32: exact, and faster.
 * - `x64-amx`: 8-bit tiles besides VNNI.
 * - `arm64-neon`, `arm64-dotprod`, `arm64-i8mm`: exact; best with int8 on both sides.
 * - `other`: nothing is known; treated like the slowest that saturates.
 */
export type CpuFlavour =
  | 'x64-avx2'
  | 'x64-avx512'
  | 'x64-vnni'
  | 'x64-amx'
  | 'arm64-neon'
  | 'arm64-dotprod'
  | 'arm64-i8mm'
  | 'other';

/** What is known of a processor. */
export interface CpuInfo {
  readonly model: string;
  /** `process.arch`: `x64`, `arm64`, ... */
  readonly arch: string;
  /** Instruction sets by their Linux names, for example `avx2`, `avx512_vnni`, `asimddp`. Empty where none can be read. */
  readonly flags: readonly string[];
  readonly flavour: CpuFlavour;
  /** `flags`: read from the system. `model`: guessed from the name. `assumed`: neither told anything, the safe answer. */
  readonly certainty: 'flags' | 'model' | 'assumed';
}

/** Instruction sets that matter to quantized kernels, in the order in which evidence lists them. */
const RELEVANT = [
  'avx',
  'avx2',
  'f16c',
  'avx512f',
  'avx512bw',
  'avx512_vnni',
  'avx_vnni',
  'avx512_fp16',
  'amx_int8',
  'asimd',
  'asimdhp',
  'asimddp',
  'i8mm',
  'sve',
];

/**
 * The processor of this machine: from `/proc/cpuinfo` on Linux, elsewhere from its name, because neither macOS nor Windows
 * tells a program without native code. A name that says nothing counts as the flavour that saturates: that costs speed, the
 * other mistake costs accuracy. Override it with `cpuTarget(flavour)`.
 */
export async function detectCpu(): Promise<CpuInfo> {
  const cpuinfo = os.platform() === 'linux' ? await readFile('/proc/cpuinfo', 'utf8').catch(() => '') : '';
  return describeCpu({ arch: os.arch(), platform: os.platform(), model: os.cpus()[0]?.model ?? '', cpuinfo });
}

/** `detectCpu` for given facts: `cpuinfo` is the text of `/proc/cpuinfo`, empty where there is none. */
export function describeCpu(facts: { arch: string; platform: string; model: string; cpuinfo: string }): CpuInfo {
  const { arch } = facts;
  const model =
    facts.model.trim() || /^(?:model name|Processor)\s*:\s*(.+)$/mu.exec(facts.cpuinfo)?.[1]?.trim() || arch;
  const line = /^(?:flags|Features)\s*:\s*(.+)$/mu.exec(facts.cpuinfo)?.[1];
  if (line) {
    const present = new Set(line.trim().split(/\s+/u));
    const flags = RELEVANT.filter((flag) => present.has(flag));
    return { model, arch, flags, flavour: flavourOfFlags(arch, present), certainty: 'flags' };
  }
  const guess = arch === 'arm64' ? armFlavour(model, facts.platform) : arch === 'x64' ? x64Flavour(model) : undefined;
  const safe: CpuFlavour = arch === 'x64' ? 'x64-avx2' : arch === 'arm64' ? 'arm64-neon' : 'other';
  return { model, arch, flags: [], flavour: guess ?? safe, certainty: guess ? 'model' : 'assumed' };
}

function flavourOfFlags(arch: string, flags: ReadonlySet<string>): CpuFlavour {
  if (arch === 'arm64') return flags.has('i8mm') ? 'arm64-i8mm' : flags.has('asimddp') ? 'arm64-dotprod' : 'arm64-neon';
  if (arch !== 'x64') return 'other';
  if (flags.has('amx_int8')) return 'x64-amx';
  if (flags.has('avx512_vnni') || flags.has('avx_vnni')) return 'x64-vnni';
  return flags.has('avx512bw') ? 'x64-avx512' : flags.has('avx2') ? 'x64-avx2' : 'other';
}

function armFlavour(model: string, platform: string): CpuFlavour | undefined {
  const apple = /Apple M(\d+)/u.exec(model);
  if (apple) return Number(apple[1]) >= 2 ? 'arm64-i8mm' : 'arm64-dotprod';
  // Every Mac and every Windows 11 ARM machine has at least Armv8.2 with the dot product.
  return platform === 'darwin' || platform === 'win32' ? 'arm64-dotprod' : undefined;
}

/** Families whose names tell. First match wins. */
const X64_FAMILIES: readonly (readonly [RegExp, CpuFlavour])[] = [
  [
    /Xeon.*(?:Platinum|Gold|Silver|Bronze) [3-8][4-6]\d\d|Xeon.* 6\d{3}[EP]?\b.*Granite|Xeon w\d-[23][45]\d\d/u,
    'x64-amx',
  ],
  [/Xeon.*(?:Platinum|Gold|Silver|Bronze) [3-8][23]\d\d/u, 'x64-vnni'],
  [/Xeon.*(?:Platinum|Gold|Silver|Bronze) [3-8]1\d\d/u, 'x64-avx512'],
  [
    /Core\(?T?M?\)? ?Ultra|1[1-4]th Gen Intel|i[3579]-1[1-4]\d{3}|i[3579]-10\d{2}N?G\d|i[3579]-1(?:03|06)\d[A-Z]*G\d/u,
    'x64-vnni',
  ],
  // AMD: Zen 4 and newer. In mobile names since 2023 the third digit is the generation of the core.
  [
    /Ryzen.* (?:7[5-9][045]\d|[89]\d[4-9]\d|9[6-9]\d\d|8[3-7]00)|Ryzen AI|EPYC [89]\d\d[45]|EPYC 4\d\d[45]|Threadripper.* 7\d\d\d/u,
    'x64-vnni',
  ],
  [/Intel|AMD/u, 'x64-avx2'],
];

function x64Flavour(model: string): CpuFlavour | undefined {
  return X64_FAMILIES.find(([pattern]) => pattern.test(model))?.[1];
}

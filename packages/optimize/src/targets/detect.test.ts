import { describe, expect, it } from 'vitest';
import { type CpuFlavour, describeCpu, detectCpu } from './detect.js';

const linux = (arch: string, line: string): CpuFlavour =>
  describeCpu({
    arch,
    platform: 'linux',
    model: 'a CPU',
    cpuinfo: `processor : 0\n${line}\n\nprocessor : 1\n${line}\n`,
  }).flavour;
const named = (arch: string, platform: string, model: string) => describeCpu({ arch, platform, model, cpuinfo: '' });

describe('describeCpu', () => {
  it.each<[string, string, CpuFlavour]>([
    ['x64', 'flags : fpu sse4_2 avx f16c avx2 fma', 'x64-avx2'],
    ['x64', 'flags : avx2 avx512f avx512bw avx512vl', 'x64-avx512'],
    ['x64', 'flags : avx2 avx_vnni', 'x64-vnni'],
    ['x64', 'flags : avx2 avx512bw avx512_vnni', 'x64-vnni'],
    ['x64', 'flags : avx2 avx512_vnni amx_tile amx_int8', 'x64-amx'],
    ['x64', 'flags : sse4_2', 'other'],
    ['arm64', 'Features : fp asimd crc32', 'arm64-neon'],
    ['arm64', 'Features : fp asimd asimdhp asimddp', 'arm64-dotprod'],
    ['arm64', 'Features : asimd asimddp i8mm bf16', 'arm64-i8mm'],
    ['s390x', 'features : vx', 'other'],
  ])('reads %s "%s" as %s', (arch, line, flavour) => {
    expect(linux(arch, line)).toBe(flavour);
  });

  it.each<[string, string, string, CpuFlavour]>([
    ['arm64', 'darwin', 'Apple M1 Pro', 'arm64-dotprod'],
    ['arm64', 'darwin', 'Apple M3 Max', 'arm64-i8mm'],
    ['x64', 'darwin', 'Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz', 'x64-avx2'],
    ['x64', 'win32', '11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz', 'x64-vnni'],
    ['x64', 'win32', 'Intel(R) Core(TM) i7-1065G7 CPU @ 1.30GHz', 'x64-vnni'],
    ['x64', 'win32', '13th Gen Intel(R) Core(TM) i5-13600K', 'x64-vnni'],
    ['x64', 'win32', 'Intel(R) Core(TM) Ultra 7 155H', 'x64-vnni'],
    ['x64', 'win32', 'Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz', 'x64-avx2'],
    ['x64', 'win32', 'Intel(R) Xeon(R) Gold 6154 CPU @ 3.00GHz', 'x64-avx512'],
    ['x64', 'win32', 'Intel(R) Xeon(R) Platinum 8275CL CPU @ 3.00GHz', 'x64-vnni'],
    ['x64', 'win32', 'Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz', 'x64-amx'],
    ['x64', 'win32', 'AMD Ryzen 9 5950X 16-Core Processor', 'x64-avx2'],
    ['x64', 'win32', 'AMD Ryzen 7 7700X 8-Core Processor', 'x64-vnni'],
    ['x64', 'win32', 'AMD Ryzen 7 7730U with Radeon Graphics', 'x64-avx2'],
    ['x64', 'win32', 'AMD Ryzen 7 7840U w/ Radeon 780M Graphics', 'x64-vnni'],
    ['x64', 'win32', 'AMD Ryzen 9 9950X 16-Core Processor', 'x64-vnni'],
    ['x64', 'win32', 'AMD EPYC 7763 64-Core Processor', 'x64-avx2'],
    ['x64', 'win32', 'AMD EPYC 9654 96-Core Processor', 'x64-vnni'],
  ])('guesses %s %s "%s" to be %s', (arch, platform, model, flavour) => {
    expect(named(arch, platform, model)).toMatchObject({ flavour, certainty: 'model', flags: [] });
  });

  it('takes the flavour that saturates when the name says nothing', () => {
    expect(named('x64', 'win32', 'QEMU Virtual CPU')).toMatchObject({ flavour: 'x64-avx2', certainty: 'assumed' });
  });

  it('describes this machine', async () => {
    const cpu = await detectCpu();
    expect(cpu.arch).toBe(process.arch);
    expect(cpu.model).not.toBe('');
    if (process.platform === 'linux') expect(cpu.certainty).toBe('flags');
  });
});

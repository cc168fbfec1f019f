import { createContext, runInContext } from 'node:vm';

/** What a worker of any current browser has and the packages may use, beside the language itself. */
const WEB = [
  'AbortController',
  'AbortSignal',
  'atob',
  'Blob',
  'btoa',
  'clearTimeout',
  'crypto',
  'performance',
  'queueMicrotask',
  'setTimeout',
  'structuredClone',
  'TextDecoder',
  'TextEncoder',
  'URL',
  'WebAssembly',
] as const;

/** Those above make and take buffers: of the same realm, as in a browser. */
const BUFFERS = [
  'ArrayBuffer',
  'BigInt64Array',
  'BigUint64Array',
  'DataView',
  'Float32Array',
  'Float64Array',
  'Int16Array',
  'Int32Array',
  'Int8Array',
  'Uint16Array',
  'Uint32Array',
  'Uint8Array',
  'Uint8ClampedArray',
] as const;

/** Runs `script` where there is no `process`, no `Buffer`, no `require`, and evaluates `expression` after it. */
export function runInRealm(script: string, expression: string, given: Readonly<Record<string, unknown>> = {}): unknown {
  const names = [...WEB, ...BUFFERS];
  const globals = Object.fromEntries(names.map((name) => [name, (globalThis as Record<string, unknown>)[name]]));
  const context = createContext({ ...globals, ...given });
  runInContext(script, context);
  return runInContext(expression, context);
}

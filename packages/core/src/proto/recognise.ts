import { PareError } from '../errors.js';
import type { ByteSource } from './source.js';

/** Bytes of the start of a file that `recognise` looks at. */
const HEAD = 64;

interface Kind {
  readonly what: string;
  readonly advice: string;
  matches(head: Uint8Array, size: number): boolean;
}

const text = (head: Uint8Array): string => String.fromCharCode(...head);
const starts = (head: Uint8Array, ...bytes: readonly number[]): boolean => bytes.every((byte, i) => head[i] === byte);
const says =
  (prefix: string): Kind['matches'] =>
  (head) =>
    text(head).startsWith(prefix);
/** FlatBuffers: a small offset to the root table, then four letters. */
const flatbuffer =
  (letters: string): Kind['matches'] =>
  (head) =>
    text(head.subarray(4, 8)) === letters && head[2] === 0 && head[3] === 0;

/** Files that are taken for ONNX models most often. None of these starts can begin a ModelProto that a serializer writes. */
const KINDS: readonly Kind[] = [
  {
    what: 'a Git LFS pointer, not the model itself',
    advice: 'Run `git lfs pull` and try again.',
    matches: says('version https://git-lfs'),
  },
  {
    what: 'an HTML page',
    advice: 'The download address led to a web page; use the address of the file itself.',
    matches: (head) => /^\s*<(!doctype|html|head|\?xml|!--)/i.test(text(head)),
  },
  {
    what: 'a ZIP archive (PyTorch and Keras files are such)',
    advice: 'Unpack it, or export the model to ONNX first.',
    matches: says('PK\x03\x04'),
  },
  {
    what: 'a TensorFlow Lite model',
    advice: 'Give the ONNX model that it was made from.',
    matches: flatbuffer('TFL3'),
  },
  {
    what: 'an ONNX Runtime model (.ort)',
    advice: 'Give the .onnx file that it was made from.',
    matches: flatbuffer('ORTM'),
  },
  {
    what: 'a safetensors file: weights without a graph',
    advice: 'Export the model to ONNX first.',
    matches: (head, size) => {
      const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
      return (
        head.byteLength > 9 && text(head.subarray(8, 10)) === '{"' && view.getBigUint64(0, true) <= BigInt(size - 8)
      );
    },
  },
  {
    what: 'a Python pickle',
    advice: 'Export the model to ONNX first.',
    matches: (head) =>
      starts(head, 0x80) && [2, 3, 4, 5].includes(head[1] ?? 0) && '}]c(XK\x95\x8a'.includes(text(head.subarray(2, 3))),
  },
  { what: 'a PNG image', advice: 'Give an .onnx file.', matches: (head) => starts(head, 0x89, 0x50, 0x4e, 0x47) },
  { what: 'a JPEG image', advice: 'Give an .onnx file.', matches: (head) => starts(head, 0xff, 0xd8, 0xff) },
  {
    what: 'an HDF5 file (older Keras models are such)',
    advice: 'Export the model to ONNX first.',
    matches: (head) => starts(head, 0x89, 0x48, 0x44, 0x46),
  },
  { what: 'a gzip archive', advice: 'Unpack it first.', matches: (head) => starts(head, 0x1f, 0x8b, 8) },
  { what: 'a GGUF file', advice: 'Export the model to ONNX instead.', matches: says('GGUF') },
  { what: 'a NumPy array', advice: 'Give an .onnx file.', matches: says('\x93NUMPY') },
  { what: 'a JSON text', advice: 'Give an .onnx file.', matches: (head) => /^\s*\{\s*["}]/.test(text(head)) },
];

/**
 * Refuses files that are well known to be something else, with a sentence that says what.
 * @throws PareError `bad-file`; what the source throws.
 */
export async function refuseOtherFiles(source: ByteSource): Promise<void> {
  if (source.size === 0) throw new PareError('bad-file', `${source.name} is empty. Fetch it again.`);
  const head = await source.read(0, Math.min(HEAD, source.size));
  const kind = KINDS.find((candidate) => candidate.matches(head, source.size));
  if (kind) throw new PareError('bad-file', `${source.name} is ${kind.what}. ${kind.advice}`);
}

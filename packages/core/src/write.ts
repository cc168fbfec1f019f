import { writeAttribute } from './convert/attribute.js';
import { keep, keepText, writeEntries } from './convert/presence.js';
import { domainOf } from './convert/read-graph.js';
import { type Place, writeGraph, writeNode, writeValueInfos } from './convert/write-graph.js';
import { PareError, throwIfAborted } from './errors.js';
import { type ExternalDataOptions, placeExternally } from './external-data.js';
import { toAttribute } from './ir/attribute.js';
import type { Model, ModelFunction } from './ir/model.js';
import { encode } from './proto/encode.js';
import { amend, type Message } from './proto/message.js';
import { type Bytes, loadBytes } from './proto/source.js';
import { readOpsets } from './read.js';

/** Protocol Buffers ends at 2 GiB - 1; what is added around a model (a runtime's copy, a signature) needs some room. */
const INLINE_LIMIT = 2 ** 31 - 2 ** 20;
const CHUNK_BYTES = 4 * 1024 * 1024;

export interface SerializeOptions {
  /**
   * Weights in files of their own. Default: as long as the model fits into one file of 2 GiB and was not read with external
   * data, no. `false`: never.
   */
  readonly externalData?: boolean | ExternalDataOptions | undefined;
  /** Name of the model file, from which those of its data files follow. Default `model.onnx`. */
  readonly name?: string | undefined;
}

/** One file to be written, not yet in memory: weights are read or computed as they come. */
export class SerializedFile {
  constructor(
    readonly name: string,
    readonly byteLength: number,
    /** The contents in order, each in memory, somewhere in a source, or computed on request. */
    readonly parts: readonly Bytes[],
  ) {}

  /** The contents in pieces of at most 4 MiB (a computed tensor comes in one). */
  async *chunks(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<Uint8Array> {
    for (const part of this.parts) {
      throwIfAborted(options.signal);
      if (part instanceof Uint8Array || !('source' in part)) {
        yield await loadBytes(part);
        continue;
      }
      for (let at = 0; at < part.length; at += CHUNK_BYTES) {
        throwIfAborted(options.signal);
        yield await part.source.read(part.offset + at, Math.min(CHUNK_BYTES, part.length - at));
      }
    }
  }

  /** The contents at once; for files that fit into memory. */
  async bytes(): Promise<Uint8Array> {
    const whole = new Uint8Array(this.byteLength);
    let at = 0;
    for await (const chunk of this.chunks()) {
      whole.set(chunk, at);
      at += chunk.byteLength;
    }
    return whole;
  }
}

export interface SerializedModel {
  readonly file: SerializedFile;
  /** Files with weights; they belong beside the model file, under their names. */
  readonly dataFiles: readonly SerializedFile[];
}

/**
 * `model` in the form of files. A model that was parsed and not changed gives the bytes that it was parsed from; one that was
 * changed keeps everything else. What is new is encoded as the C++ serializer of Protocol Buffers would.
 * @throws PareError `unsupported` when the model file would exceed 2 GiB; `bad-option` for unusable names of data files.
 */
export function serializeModel(model: Model, options: SerializeOptions = {}): SerializedModel {
  const name = options.name ?? 'model.onnx';
  const external = options.externalData ?? hasExternalData(model);
  if (!external) {
    const inline = encode(writeModelProto(model, () => undefined));
    if (inline.byteLength <= INLINE_LIMIT) return { file: fileOf(name, inline), dataFiles: [] };
    if (options.externalData === false) tooLarge(name, inline.byteLength, 'Write its weights as external data');
  }
  const { place, files } = placeExternally(model, name, typeof external === 'object' ? external : {});
  const encoded = encode(writeModelProto(model, place));
  if (encoded.byteLength > INLINE_LIMIT) tooLarge(name, encoded.byteLength, 'Lower thresholdBytes');
  const dataFiles = files.map((file) => new SerializedFile(file.location, file.byteLength, file.parts));
  return { file: fileOf(name, encoded), dataFiles };
}

function fileOf(name: string, { byteLength, parts }: { byteLength: number; parts: readonly Bytes[] }): SerializedFile {
  return new SerializedFile(name, byteLength, parts);
}

function tooLarge(name: string, bytes: number, advice: string): never {
  throw new PareError(
    'unsupported',
    `${name} would have ${bytes} bytes, but an ONNX file ends at 2 GiB (Protocol Buffers). ${advice}.`,
  );
}

/** Some initializer was read from a data file. */
function hasExternalData(model: Model): boolean {
  for (const graph of model.graph.graphs()) {
    for (const { initializer } of graph.initializers) {
      const origin = initializer?.origin as Message<'TensorProto'> | undefined;
      if (origin?.data_location === 1) return true;
    }
  }
  return false;
}

function writeModelProto(model: Model, place: Place): Message<'ModelProto'> {
  const origin = model.origin as Message<'ModelProto'> | undefined;
  return amend('ModelProto', origin, {
    ir_version: Number(origin?.ir_version ?? 0) === model.irVersion ? origin?.ir_version : model.irVersion,
    producer_name: keepText(model.producerName, origin?.producer_name),
    producer_version: keepText(model.producerVersion, origin?.producer_version),
    domain: keepText(model.domain, origin?.domain),
    model_version: keep(model.modelVersion, origin?.model_version, 0),
    doc_string: keepText(model.docString, origin?.doc_string),
    graph: writeGraph(model.graph, place),
    opset_import: writeOpsets(model.opsets, origin?.opset_import),
    metadata_props: writeEntries(model.metadata, origin?.metadata_props),
    functions: model.functions.map((f) => writeFunction(f, place)),
  });
}

function writeOpsets(
  opsets: ReadonlyMap<string, number>,
  origin: readonly Message<'OperatorSetIdProto'>[] | undefined,
): readonly Message<'OperatorSetIdProto'>[] | undefined {
  const before = readOpsets(origin);
  if (before.size === opsets.size && [...opsets].every(([domain, v]) => before.get(domain) === v)) return origin;
  const byDomain = new Map((origin ?? []).map((entry) => [domainOf(entry.domain), entry]));
  return [...opsets].map(([domain, version]) => {
    const entry = byDomain.get(domain);
    return amend('OperatorSetIdProto', entry, { domain: entry?.domain ?? domain, version });
  });
}

function writeFunction(f: ModelFunction, place: Place): Message<'FunctionProto'> {
  const origin = f.origin as Message<'FunctionProto'> | undefined;
  if (f.body.initializers.size > 0) {
    throw new PareError(
      'bad-model',
      `Function "${f.name}" holds initializers, which ONNX cannot write. Use Constant nodes, or inline it first.`,
    );
  }
  const names = (values: readonly { name: string }[]): string[] => values.map((value) => value.name);
  return amend('FunctionProto', origin, {
    name: keep(f.name, origin?.name, ''),
    domain: domainOf(origin?.domain) === f.domain ? origin?.domain : f.domain,
    overload: keepText(f.overload, origin?.overload),
    input: names(f.body.inputs),
    output: names(f.body.outputs),
    attribute: f.attributes,
    attribute_proto: Array.from(f.defaults, ([name, like]) =>
      writeAttribute(name, toAttribute(name, like), { writeGraph: (graph) => writeGraph(graph, place) }),
    ),
    node: Array.from(f.body.nodes(), (node) => writeNode(node, place)),
    opset_import: writeOpsets(f.opsets, origin?.opset_import),
    value_info: writeValueInfos(f.body, origin?.value_info),
    doc_string: keepText(f.docString, origin?.doc_string),
    metadata_props: writeEntries(f.metadata, origin?.metadata_props),
  });
}

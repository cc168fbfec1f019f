import { type AttributeReader, readAttribute } from './convert/attribute.js';
import { readEntries } from './convert/presence.js';
import { describeAll, domainOf, readGraph, readNodes } from './convert/read-graph.js';
import type { ExternalReader } from './convert/tensor.js';
import { PareError } from './errors.js';
import { type ExternalFiles, externalReader } from './external-data.js';
import { Graph } from './ir/graph.js';
import { Model, type ModelFunction } from './ir/model.js';
import { GraphRoot } from './ir/root.js';
import { decode } from './proto/decode.js';
import type { Message } from './proto/message.js';
import { refuseOtherFiles } from './proto/recognise.js';
import { type ByteSource, blobSource, memorySource } from './proto/source.js';

export interface ParseOptions {
  /** Finds the files beside the model that hold weights (external data). Default: there are none. */
  readonly externalFiles?: ExternalFiles | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads an ONNX model (onnx.proto, IR version 3 to 14). Weights are not read: tensors refer to `input`, which must stay as it
 * is for as long as the model, or one made from it, is in use. Everything that the IR does not model (unknown fields, training
 * information, quantization annotations, denotations, ...) is kept for writing.
 *
 * A `Uint8Array` or a `Blob` works in any browser; `readModel` of `@pare/core/node` reads a path.
 * @throws PareError `bad-file` when the bytes are not a whole ONNX file, `bad-model` when they are but make no graph,
 *   `unsupported` for element types and attributes of the future, `io` for external files that are missing, `aborted`.
 */
export async function parseModel(input: ByteSource | Uint8Array | Blob, options: ParseOptions = {}): Promise<Model> {
  const source = sourceOf(input);
  await refuseOtherFiles(source);
  const proto = await decode('ModelProto', source, { signal: options.signal });
  if (!proto.graph) {
    throw new PareError('bad-file', `${source.name} is no ONNX model: it holds no graph. Is it the file you meant?`);
  }
  try {
    return readModelProto(proto, proto.graph, externalReader(options.externalFiles));
  } catch (error) {
    if (!(error instanceof PareError)) throw error;
    throw new PareError(error.code, `${source.name}: ${error.message}`, { cause: error });
  }
}

function sourceOf(input: ByteSource | Uint8Array | Blob): ByteSource {
  if (input instanceof Uint8Array) return memorySource(input);
  return 'read' in input ? input : blobSource(input);
}

function readModelProto(proto: Message<'ModelProto'>, main: Message<'GraphProto'>, external: ExternalReader): Model {
  const graph = new Graph();
  graph.root.irVersion = Number(proto.ir_version ?? 0);
  readGraph(graph, main, external);
  const model = new Model(graph, readOpsets(proto.opset_import));
  model.producerName = proto.producer_name ?? '';
  model.producerVersion = proto.producer_version ?? '';
  model.domain = proto.domain ?? '';
  model.modelVersion = proto.model_version ?? 0;
  model.docString = proto.doc_string ?? '';
  model.metadata = readEntries(proto.metadata_props);
  model.functions = (proto.functions ?? []).map((f) => readFunction(f, graph.root.irVersion, external));
  model.origin = proto;
  return model;
}

/** A domain that is imported twice counts with its newer version. */
export function readOpsets(imports: readonly Message<'OperatorSetIdProto'>[] | undefined): Map<string, number> {
  const opsets = new Map<string, number>();
  for (const { domain, version } of imports ?? []) {
    const key = domainOf(domain);
    opsets.set(key, Math.max(opsets.get(key) ?? 0, Number(version ?? 0)));
  }
  return opsets;
}

function readFunction(proto: Message<'FunctionProto'>, irVersion: number, external: ExternalReader): ModelFunction {
  const body = new Graph(proto.name ?? '', new GraphRoot(irVersion));
  const name = proto.name ?? '';
  for (const input of proto.input ?? []) body.addInput(input);
  readNodes(body, proto.node ?? [], external);
  for (const output of proto.output ?? []) body.addOutput(body.value(output) ?? body.addValue(output));
  describeAll(body, proto.value_info);
  const readDefault = (attribute: Message<'AttributeProto'>) => {
    const reader: AttributeReader = {
      external,
      who: `Function "${name}", attribute "${attribute.name ?? ''}",`,
      readGraph: (g) => {
        const sub = new Graph('', body.root);
        readGraph(sub, g, external);
        return sub;
      },
    };
    return [attribute.name ?? '', readAttribute(attribute, reader)] as const;
  };
  return {
    domain: domainOf(proto.domain),
    name,
    overload: proto.overload ?? '',
    body,
    attributes: proto.attribute ?? [],
    defaults: new Map((proto.attribute_proto ?? []).map(readDefault)),
    opsets: readOpsets(proto.opset_import),
    docString: proto.doc_string ?? '',
    metadata: readEntries(proto.metadata_props),
    origin: proto,
  };
}

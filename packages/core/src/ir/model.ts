import type { Engine } from '../engine.js';
import { PareError, throwIfAborted } from '../errors.js';
import type { AttributeLike } from './attribute.js';
import { cloneModel } from './clone.js';
import type { Graph } from './graph.js';
import type { Node } from './node.js';

/** What a transform says that it did. */
export interface TransformResult {
  /** How many places changed. */
  readonly changed: number;
  /** One sentence a change or refusal, naming the place: what a report prints. */
  readonly notes: readonly string[];
}

/** What a transform may use. */
export interface TransformContext {
  /** For transforms that run parts of the model (constant folding, calibration). */
  readonly engine?: Engine | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` of `total` steps of the transform called `stage`. */
  readonly onProgress?: ((stage: string, done: number, total: number) => void) | undefined;
}

/** A named function that changes a model in place. */
export interface Transform {
  readonly name: string;
  apply(model: Model, context: TransformContext): TransformResult | Promise<TransformResult>;
}

/** A function of the model: an operator `domain::name` that is defined by a graph. */
export interface ModelFunction {
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  /** Body; its inputs and outputs are the function's. */
  readonly body: Graph;
  /** Names of attributes without and with a default. */
  readonly attributes: readonly string[];
  readonly defaults: ReadonlyMap<string, AttributeLike>;
  readonly opsets: ReadonlyMap<string, number>;
  docString: string;
  metadata: Map<string, string>;
  origin?: object | undefined;
}

/** An ONNX model: the main graph, the operator sets that it is written in, functions and metadata. */
export class Model {
  producerName = '';
  producerVersion = '';
  domain = '';
  modelVersion: number | bigint = 0;
  docString = '';
  metadata = new Map<string, string>();
  functions: ModelFunction[] = [];
  /** The message that this model was read from; only the codec looks into it. */
  origin: object | undefined;

  /** `opsets` maps a domain ('' is the default one) to its version. */
  constructor(
    readonly graph: Graph,
    readonly opsets: Map<string, number>,
  ) {}

  get irVersion(): number {
    return this.graph.root.irVersion;
  }

  set irVersion(version: number) {
    this.graph.root.irVersion = version;
  }

  /** Version of the default operator set; 0 when the model imports none. */
  get opset(): number {
    return this.opsets.get('') ?? 0;
  }

  /** Every node: main graph and subgraphs, not functions. */
  allNodes(): Generator<Node> {
    return this.graph.allNodes();
  }

  /** Applies `transforms` in order and returns what each did. Place a context last to give an engine, signal or progress. */
  async transform(...args: readonly (Transform | TransformContext)[]): Promise<TransformResult[]> {
    const transforms = args.filter((arg): arg is Transform => 'apply' in arg);
    const context = Object.assign({}, ...args.filter((arg) => !('apply' in arg))) as TransformContext;
    const results: TransformResult[] = [];
    for (const transform of transforms) {
      throwIfAborted(context.signal);
      results.push(await transform.apply(this, context));
    }
    return results;
  }

  /** A copy whose graph can be edited apart. Tensors are immutable and shared. */
  clone(): Model {
    return cloneModel(this);
  }

  /** Imports `domain` at `version` when the model does not import it yet. */
  ensureOpset(domain: string, version: number): void {
    const present = this.opsets.get(domain);
    if (present === undefined) this.opsets.set(domain, version);
    else if (present < version && domain === '') {
      throw new PareError(
        'unsupported',
        `The model is opset ${present}; opset ${version} is needed. Convert it first.`,
      );
    }
  }
}

import {
  type DType,
  type Engine,
  elementCount,
  type Feeds,
  type HostTensor,
  inferTypes,
  type Model,
  PareError,
  type Session,
  staticShape,
  type Value,
} from '@pare/core';
import type { SampleBatch } from '../data/index.js';
import type { AnswerCache } from './answer-cache.js';
import { ANSWER, targetName } from './terms.js';

/** What a teacher is asked for. */
export interface TeacherOptions {
  readonly engine: Engine;
  /** Names of inner values that are wanted beside the logits. */
  readonly values: readonly string[];
  /** Shape of the student's inputs, the batch axis included. */
  readonly inputShapes: Readonly<Record<string, readonly number[]>>;
  readonly threads?: number | undefined;
  /** Keeps answers, so that later epochs need not ask again. */
  readonly cache?: AnswerCache | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model that answers for each batch what the student is to follow. Nothing of it is trained. */
export class Teacher {
  private constructor(
    private readonly session: Session,
    /** Teacher's input -> student's input. */
    private readonly inputs: ReadonlyMap<string, string>,
    /** Name of the value -> name of the target and shape of one sample. */
    private readonly outputs: ReadonlyMap<string, { readonly target: string; readonly dims: readonly number[] }>,
    readonly logits: string,
    private readonly cache: AnswerCache | undefined,
  ) {}

  /** @throws PareError `bad-option` when teacher and student take different inputs, or a value is missing. */
  static async open(model: Model, options: TeacherOptions): Promise<Teacher> {
    const copy = model.clone();
    const inputs = matchInputs(copy, options.inputShapes);
    const shapes = [...inputs].map(([own, given]) => [own, options.inputShapes[given] as readonly number[]] as const);
    const inference = inferTypes(copy, { inputShapes: Object.fromEntries(shapes) });
    const logits = logitsOf(copy);
    const outputs = new Map<string, { target: string; dims: readonly number[] }>();
    for (const output of [...copy.graph.outputs])
      if (output !== logits) copy.graph.removeOutput(copy.graph.outputs.indexOf(output));
    for (const name of new Set([logits.name, ...options.values])) {
      const value = copy.graph.value(name);
      const type = value && inference.typeOf(value);
      const shape = type?.kind === 'tensor' ? staticShape(type.shape) : undefined;
      if (!value || !shape || type?.kind !== 'tensor') {
        throw new PareError(
          'bad-option',
          `The teacher computes no value "${name}" of a known shape; \`pare inspect\` lists them.`,
        );
      }
      outputs.set(name, { target: value === logits ? ANSWER : targetName(name), dims: shape.slice(1) });
      if (!value.type) value.type = type;
      if (!value.isGraphOutput) copy.graph.addOutput(value);
    }
    const { engine, threads = 1, signal } = options;
    const session = await engine.open(copy, { threads, ...(signal ? { signal } : {}) });
    return new Teacher(session, inputs, outputs, logits.name, options.cache);
  }

  /** Shape of a value for one sample. */
  dims(value: string): readonly number[] {
    return this.outputs.get(value)?.dims ?? [];
  }

  /** What the teacher says of the samples of a batch, as targets of the student's training graph. */
  async answer(batch: SampleBatch): Promise<Feeds> {
    const known = await this.cache?.read(batch, this.#layout());
    if (known) return this.#targets(known);
    const feeds = [...this.inputs].map(([own, given]) => [own, batch.inputs[given] as HostTensor] as const);
    const results = await this.session.run(Object.fromEntries(feeds));
    const answers = [...this.outputs.keys()].map((name) => results[name] as HostTensor);
    await this.cache?.write(
      batch,
      this.#layout(),
      answers.map(({ data }) => data as Float32Array),
    );
    return this.#targets(answers);
  }

  close(): Promise<void> {
    return this.session.close();
  }

  /** Numbers of each value for one sample. */
  #layout(): number[] {
    return [...this.outputs.values()].map(({ dims }) => elementCount(dims));
  }

  #targets(answers: readonly (HostTensor | Float32Array)[]): Feeds {
    const feeds: Record<string, HostTensor> = {};
    for (const [i, { target, dims }] of [...this.outputs.values()].entries()) {
      const answer = answers[i] as HostTensor | Float32Array;
      const data = answer instanceof Float32Array ? answer : answer.data;
      const rows = data.length / elementCount(dims);
      const tensor: HostTensor = { dtype: 'float32' satisfies DType, dims: [rows, ...dims], data };
      feeds[target] = tensor;
      // Relations between logits read them under the name of a value as well.
      if (target === ANSWER) feeds[targetName(this.logits)] = tensor;
    }
    return feeds;
  }
}

/** The numbers before a Softmax at the end, or the first float output. */
export function logitsOf(model: Model): Value {
  const output = model.graph.outputs.find((o) => o.dtype === undefined || o.dtype === 'float32');
  if (!output) throw new PareError('bad-option', 'The model has no float32 output to teach with, or to follow.');
  const { producer } = output;
  const before = producer?.is('Softmax') || producer?.is('LogSoftmax') ? producer.inputs[0] : undefined;
  return before ?? output;
}

function matchInputs(teacher: Model, shapes: TeacherOptions['inputShapes']): Map<string, string> {
  const given = Object.keys(shapes);
  const matched = new Map<string, string>();
  for (const input of teacher.graph.inputs) {
    if (input.initializer) continue;
    const only =
      given.length === 1 && teacher.graph.inputs.filter((i) => !i.initializer).length === 1 ? given[0] : undefined;
    const name = given.includes(input.name) ? input.name : only;
    const dims = name === undefined ? undefined : shapes[name];
    const fits =
      dims &&
      (!input.shape ||
        (input.shape.length === dims.length &&
          input.shape.every((d, i) => typeof d !== 'number' || i === 0 || d === dims[i])));
    if (name === undefined || !fits) {
      const theirs = given.map((n) => `"${n}" [${(shapes[n] ?? []).join(', ')}]`).join(', ');
      throw new PareError(
        'bad-option',
        `The teacher's input "${input.name}" [${input.shape?.map((d) => d ?? '?').join(', ') ?? ''}] does not fit what the student is fed: ${theirs}.`,
      );
    }
    matched.set(input.name, name);
  }
  return matched;
}

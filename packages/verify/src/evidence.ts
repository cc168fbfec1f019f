/**
 * Everything that Pare measures of a model, as plain data: what `verify` returns, `evidence.json` holds and the report draws.
 * Times are milliseconds, sizes bytes. Every field survives JSON: a number that is not finite is written as null, and each
 * nullable field says what null means. The same shape as a JSON schema: `evidence.schema.json`.
 */

/** Version of this shape. Grows by a minor version when fields are added, by a major one when their meaning changes. */
export const EVIDENCE_SCHEMA = 'pare-evidence/1.1';

/** The whole of one run: an original, what was made of it, and what was measured. */
export interface Evidence {
  readonly schema: typeof EVIDENCE_SCHEMA;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly model: ModelInfo;
  readonly data: DataInfo;
  readonly host: HostInfo;
  readonly options: RunOptions;
  /** The first is the original; the others in the order they were measured. */
  readonly variants: readonly VariantEvidence[];
  /** Variants that were planned and not measured, or could not be built. Those measured and dropped are in `variants`. */
  readonly refused: readonly RefusedVariant[];
  /** How variants that were trained learned; left out when none was. */
  readonly training?: readonly TrainingEvidence[];
  readonly recommendation: Recommendation;
  /** How to do it again. */
  readonly repeat: RepeatInfo;
  /** Sentences that a reader must see, the most serious first ("Accuracy was not measured: ..."). */
  readonly warnings: readonly string[];
}

export interface ModelInfo {
  readonly name: string;
  /** File name without its folder; null for a model that was never a file. */
  readonly file: string | null;
  /** Model file and external data together. */
  readonly bytes: number;
  /** SHA-256 of the file, hex; null when it was not computed. */
  readonly sha256: string | null;
  readonly opset: number | null;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
}

export interface PortInfo {
  readonly name: string;
  readonly dtype: string;
  /** A number, a name, or null for unknown. */
  readonly dims: readonly (number | string | null)[];
}

export interface DataInfo {
  readonly name: string;
  /** `random`: seeded random inputs, because no data was given; accuracy is then not measured. */
  readonly kind: 'user' | 'random';
  /** SHA-256 over the samples, hex. */
  readonly hash: string | null;
  readonly samples: number;
  /** How many of them calibrated the quantizers, and how many evaluated the variants. They never overlap. */
  readonly calibration: number;
  readonly evaluation: number;
  readonly labelled: boolean;
  /** Number of different classes among integer labels; null for other labels and none. */
  readonly classes: number | null;
  /** Seed of the split and of random inputs. */
  readonly seed: number;
  readonly warnings: readonly string[];
}

export interface HostInfo {
  readonly cpu: string;
  /** Logical processors. */
  readonly cores: number;
  /** `x64`, `arm64`, `wasm`. */
  readonly arch: string;
  /** Instruction sets that matter to kernels, for example `avx2`, `avx512_vnni`, `avx_vnni`, `asimddp`, `i8mm`; empty when unknown. */
  readonly flags: readonly string[];
  readonly memoryBytes: number;
  readonly os: string;
  /** For example `Node.js 20.19.1` or the browser's name and version. */
  readonly runtime: string;
  /** For example `onnxruntime-node 1.30.0`. */
  readonly engine: string;
  /** Version of Pare. */
  readonly pare: string;
}

export interface RunOptions {
  /** Target profile, for example `node-cpu`; null when none was chosen. */
  readonly target: string | null;
  readonly threads: number;
  /** Samples a run during evaluation. */
  readonly batchSize: number;
  readonly seed: number;
  readonly gates: Gates;
}

/** What a variant must hold. A gate left out is not checked. */
export interface Gates {
  /** Largest accepted drop of the metric, in the metric's own unit (0.01 is one point of a proportion). */
  readonly maxDrop?: number;
  readonly maxP95Ms?: number;
  readonly maxBytes?: number;
  readonly minCosine?: number;
}

export interface VariantEvidence {
  /** Unique in the run; the original is called `original`. */
  readonly name: string;
  readonly isOriginal: boolean;
  readonly recipe: readonly RecipeStep[];
  /** File names inside the output folder: the model first, then external data. */
  readonly files: readonly string[];
  readonly bytes: number;
  readonly sha256: string | null;
  /** Runtime config entries that this variant needs, for example `session.x64quantprecision`. */
  readonly sessionConfig: Readonly<Record<string, string>>;
  /** Null: not measured (no metric, or no data). */
  readonly accuracy: AccuracyEvidence | null;
  /** Null for the original (except what needs no comparison, which lies in `stability`) and when it was not measured. */
  readonly numerics: NumericsEvidence | null;
  /** What a model does alone: extremes and reproducibility. */
  readonly stability: StabilityEvidence | null;
  readonly performance: PerformanceEvidence | null;
  readonly verdict: Verdict;
}

/** A variant that was measured and not judged yet. */
export type MeasuredVariant = Omit<VariantEvidence, 'verdict'>;

/** One transform of a recipe, as data. */
export interface RecipeStep {
  readonly transform: string;
  readonly options: Readonly<Record<string, unknown>>;
  /** What the transform says that it did, one sentence a change. */
  readonly notes: readonly string[];
}

/** `refused`: measured, and worse than what it started from or over a gate. */
export interface Verdict {
  readonly status: 'recommended' | 'accepted' | 'refused';
  /** One sentence each, the deciding one first. */
  readonly reasons: readonly string[];
}

export interface RefusedVariant {
  readonly name: string;
  readonly recipe: readonly RecipeStep[];
  readonly reason: string;
}

export interface Recommendation {
  /** Name of a variant; `original` when nothing is better. */
  readonly variant: string;
  readonly reason: string;
}

export interface RepeatInfo {
  /** A command line that repeats the run. */
  readonly command: string;
  /** Contents of an equal `pare.config.ts`; null when there is none. */
  readonly config: string | null;
}

// ---- training ----

/** How one model learned. */
export interface TrainingEvidence {
  /** Name of the variant, or of the file. */
  readonly name: string;
  /** `qat`: with the rounding of quantization in it. */
  readonly what: 'finetune' | 'prune' | 'distill' | 'qat';
  /** Name of the loss, for example `cross-entropy`. */
  readonly loss: string;
  /** Training samples, those that chose the weights not counted. */
  readonly samples: number;
  readonly steps: number;
  /** Of the order of samples, their variation and dropout. */
  readonly seed: number;
  /** Time of the training steps, seconds. */
  readonly seconds: number;
  readonly epochs: readonly TrainingEpoch[];
  /** At most 500 points over all steps, in order. */
  readonly curve: readonly CurvePoint[];
  /** What was measured on the validation samples to choose the weights; null when there were none. */
  readonly score: TrainingScore | null;
  /** The epoch whose weights were kept, from 1; 0: those before training. */
  readonly best: number;
  /** What was decided or ignored, one sentence each. */
  readonly notes: readonly string[];
}

export interface TrainingEpoch {
  /** From 1. */
  readonly epoch: number;
  /** Mean over its steps. */
  readonly loss: number;
  /** Share of training samples that were answered rightly while the weights changed; null where labels are no classes. */
  readonly accuracy: number | null;
  /** On the validation samples; null when there were none. */
  readonly score: number | null;
  /** Of its last step. */
  readonly learningRate: number;
  readonly seconds: number;
}

/** The loss of a few steps in a row: of one, when there were at most 500. */
export interface CurvePoint {
  /** The last of these steps, from 1. */
  readonly step: number;
  /** Mean, smallest and largest loss. */
  readonly loss: number;
  readonly low: number;
  readonly high: number;
  /** Of the last of these steps. */
  readonly learningRate: number;
}

export interface TrainingScore {
  readonly name: string;
  readonly format: 'percent' | 'number';
  /** Of the model before training; null when it was not measured. */
  readonly before: number | null;
}

// ---- accuracy ----

/** A confidence interval. */
export interface Interval {
  readonly low: number;
  readonly high: number;
  /** 0.95. */
  readonly level: number;
  readonly method:
    | 'wilson'
    | 'bootstrap-bca'
    | 'bootstrap-percentile'
    | 'paired-bootstrap'
    | 'newcombe-paired'
    | 'none';
}

export interface AccuracyEvidence {
  readonly metric: string;
  readonly higherIsBetter: boolean;
  /** How to print `value` and `drop`. `percent`: a proportion, 0.812 is 81.2 %. */
  readonly format: 'percent' | 'number';
  /** `labels`: against the truth. `original`: against the original's own answers, because there are no labels. */
  readonly reference: 'labels' | 'original';
  /** Null: the metric has no finite value on this data. */
  readonly value: number | null;
  readonly interval: Interval | null;
  readonly samples: number;
  /** Other metrics of the same runs. */
  readonly secondary: readonly MetricValue[];
  /** For classification: one row a class, in class order. */
  readonly classes: readonly ClassRow[] | null;
  readonly confusion: ConfusionMatrix | null;
  /** Against the original; null for the original itself. */
  readonly drop: DropEvidence | null;
}

export interface MetricValue {
  readonly metric: string;
  readonly higherIsBetter: boolean;
  readonly format: 'percent' | 'number';
  readonly value: number | null;
  readonly interval: Interval | null;
}

export interface ClassRow {
  readonly label: string;
  /** Samples of this class. */
  readonly support: number;
  /** Null: never predicted. */
  readonly precision: number | null;
  /** Null: no sample of this class. */
  readonly recall: number | null;
  readonly f1: number | null;
}

/** `counts[truth][predicted]`. */
export interface ConfusionMatrix {
  readonly labels: readonly string[];
  readonly counts: readonly (readonly number[])[];
}

/** How much worse than the original, judged on the same samples. */
export interface DropEvidence {
  /** Positive is worse, whatever the metric's direction; in the metric's unit. */
  readonly value: number;
  readonly interval: Interval | null;
  readonly test: PairedTest;
  /** By the paired test at the 5 % level. */
  readonly verdict: 'worse' | 'better' | 'no difference measured';
  readonly gate: DropGate | null;
}

export interface PairedTest {
  readonly name: 'mcnemar-exact' | 'mcnemar' | 'paired-bootstrap';
  /** Two-sided. */
  readonly pValue: number;
  /** McNemar: samples only the original had right, and only the variant. */
  readonly onlyOriginalRight: number | null;
  readonly onlyVariantRight: number | null;
}

export interface DropGate {
  readonly limit: number;
  /**
   * `proven`: even the interval's far end is within the limit. `holds`: the measured drop is within the limit, its interval
   * is not (more samples would tell). `fails`: the measured drop is over the limit.
   */
  readonly verdict: 'proven' | 'holds' | 'fails';
}

// ---- numerics ----

/** How far the variant's numbers are from the original's on the same inputs. */
export interface NumericsEvidence {
  readonly samples: number;
  readonly outputs: readonly OutputNumerics[];
  /** Null: not measured. */
  readonly layers: LayersNumerics | null;
  readonly saturation: SaturationEvidence | null;
}

/** Errors of one tensor, over all samples. `e = variant - original`. */
export interface ErrorSummary {
  readonly elements: number;
  /** Every element has the same bits (or is the same number). */
  readonly identical: boolean;
  /** Over all elements of all samples together; null when one side is all zeros. */
  readonly cosine: number | null;
  readonly maxAbs: number | null;
  /** max |e| / max(|original|, 1e-6 * largest |original| of the sample). */
  readonly maxRel: number | null;
  readonly meanAbs: number | null;
  /** Root mean square of e over root mean square of the original. */
  readonly relativeRmse: number | null;
  /** 10 log10(sum original^2 / sum e^2), dB; null when there is no error at all or no signal. */
  readonly sqnrDb: number | null;
  /** Elements that are NaN or infinite. Errors are over the elements that are finite on both sides. */
  readonly nonFiniteOriginal: number;
  readonly nonFiniteVariant: number;
}

export interface OutputNumerics extends ErrorSummary {
  readonly name: string;
  readonly dtype: string;
  /** The smallest cosine of one sample, and which sample; null when it has none. */
  readonly worstCosine: { readonly value: number; readonly sample: number } | null;
  /** KL(original || variant) of the softmax over the last axis, nats, one value a row; null where a softmax makes no sense. */
  readonly kl: { readonly mean: number; readonly max: number } | null;
  /** Share of rows whose largest element is at the same place; null where it makes no sense. */
  readonly top1Agreement: number | null;
}

export interface LayersNumerics {
  readonly samples: number;
  /** Worst first, by relative error. */
  readonly ranked: readonly LayerNumerics[];
  /** Tensors of the original that have no twin in the variant (fused or renamed). */
  readonly unmatched: number;
  readonly note: string | null;
}

export interface LayerNumerics extends ErrorSummary {
  /** Name of the tensor, the same in both models. */
  readonly tensor: string;
  /** The node of the original that makes it. */
  readonly node: string;
  readonly opType: string;
  /** Position in the original's topological order, from 0. */
  readonly index: number;
}

/** Does the runtime's integer arithmetic give what the file says? (pmaddubsw saturates on x64 without VNNI.) */
export interface SaturationEvidence {
  /**
   * SQNR against the original as it runs in production, and exactly: with graph optimisation off, or, for operators that are
   * integer by themselves, with `session.x64quantprecision`. dB; null when there is no error at all.
   */
  readonly optimizedDb: number | null;
  readonly unoptimizedDb: number | null;
  /** unoptimizedDb - optimizedDb: what the integer kernels lose; null when either is null. */
  readonly lossDb: number | null;
  readonly samples: number;
  readonly verdict: 'saturates' | 'none' | 'not applicable';
  readonly reason: string;
}

/** What a model does with hostile inputs, and whether it repeats itself. */
export interface StabilityEvidence {
  readonly extremes: readonly ExtremeInput[];
  readonly reproducibility: Reproducibility | null;
}

export interface ExtremeInput {
  readonly name: 'zeros' | 'data minimum' | 'data maximum' | 'denormals' | 'large' | 'integer limits';
  /** What was fed, in words. */
  readonly input: string;
  /** Elements of the outputs that are NaN, and infinite; null when the run failed. */
  readonly nan: number | null;
  readonly infinite: number | null;
  /** `not finite, like the original`: the original does the same, so the variant is not to blame. */
  readonly verdict: 'finite' | 'not finite' | 'not finite, like the original' | 'failed' | 'failed, like the original';
  /** The runtime's message when it failed. */
  readonly error: string | null;
}

export interface Reproducibility {
  readonly runs: number;
  /** The same input twice. */
  readonly repeated: BitComparison;
  /** Other thread counts against the count of this run. */
  readonly threads: readonly (BitComparison & { readonly threads: number })[];
}

export interface BitComparison {
  readonly identical: boolean;
  /** Largest absolute difference; 0 when identical, null when one side is not finite where the other is. */
  readonly maxAbs: number | null;
}

// ---- performance ----

export interface PerformanceEvidence {
  /** Batch size of `latency`. */
  readonly batch: number;
  readonly threads: number;
  /** Interleaved rounds: every variant once a round, in rotating order. */
  readonly rounds: number;
  readonly warmupRuns: number;
  readonly latency: LatencySummary;
  /** Up to 500 latencies, sorted, evenly spaced over all that were measured: for drawing the distribution. */
  readonly distribution: readonly number[];
  /** Median of each round, in order: shows drift of the machine. */
  readonly roundMedians: readonly number[];
  readonly throughput: readonly ThroughputRow[];
  /** In this process: creating the session, and its first run. */
  readonly coldStart: ColdStart;
  /** In a process of its own; null when it was not measured. */
  readonly freshProcess: FreshProcess | null;
  /** Against the original, same rounds; null for the original itself. */
  readonly speedup: SpeedupEvidence | null;
}

/** Milliseconds a run. */
export interface LatencySummary {
  readonly runs: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  readonly mean: number;
}

export interface ThroughputRow {
  readonly batch: number;
  /** Median latency of one run of this batch, ms. */
  readonly p50: number;
  readonly samplesPerSecond: number;
}

export interface ColdStart {
  readonly loadMs: number;
  readonly firstRunMs: number;
}

export interface FreshProcess extends ColdStart {
  /** Largest resident set of the process, and before the model was loaded. */
  readonly peakBytes: number;
  readonly baselineBytes: number;
}

export interface SpeedupEvidence {
  /** Median latency of the original over the variant's, median over rounds: 1.5 is one and a half times as fast. */
  readonly ratio: number;
  readonly interval: Interval;
  /** By the interval: it lies above 1, below 1, or covers it. A ratio within 2 % of 1 is no difference. */
  readonly verdict: 'faster' | 'slower' | 'no difference measured';
}

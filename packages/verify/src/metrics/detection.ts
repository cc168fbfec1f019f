import type { Sample } from '@pare/core';
import { toNumbers } from '@pare/core';
import { badLabel, defineMetric, type Metric, type Outputs, outputNamed } from './metric.js';

/** Corners of a rectangle, in any unit that truth and answers share. */
export type Box = readonly [x1: number, y1: number, x2: number, y2: number];

export interface Detection {
  readonly box: Box;
  readonly score: number;
  readonly class: number;
}

/** A label is a list of these. */
export interface TrueBox {
  readonly box: Box;
  readonly class: number;
  /** COCO's `iscrowd`, VOC's `difficult`: finding it is neither right nor wrong. */
  readonly crowd?: boolean;
}

export interface MeanAveragePrecisionOptions {
  /**
   * `coco`: mean over the IoU thresholds .50, .55, ..., .95, precision at 101 recalls, 100 detections a class and image.
   * `voc`: IoU .5, area under the precision envelope (VOC 2010 and later). Default `coco`.
   */
  readonly style?: 'coco' | 'voc';
  /** Detections of a sample. Default: outputs `boxes` [n, 4], `scores` [n], `labels` [n]. */
  readonly decode?: (outputs: Outputs, sample: Sample) => readonly Detection[];
}

/** One image and class: true boxes that count, and each counted detection with a bit a threshold where it found one. */
interface ClassMatches {
  readonly positives: number;
  readonly scores: readonly number[];
  /** Bit t: right at threshold t. */
  readonly right: readonly number[];
  /** Bit t: matched a crowd, so it does not count at threshold t. */
  readonly ignored: readonly number[];
}

type ImageMatches = ReadonlyMap<number, ClassMatches>;

const COCO_THRESHOLDS = Array.from({ length: 10 }, (_, i) => 0.5 + 0.05 * i);
const VOC_THRESHOLDS = [0.5];

/**
 * Mean average precision of object detection, after the protocols of COCO (T.-Y. Lin et al., ECCV 2014, and its evaluation
 * server) and PASCAL VOC (M. Everingham et al., IJCV 2010). The label is a list of TrueBox.
 */
export function meanAveragePrecision(options: MeanAveragePrecisionOptions = {}): Metric<ImageMatches> {
  const { style = 'coco', decode = decodeDefault } = options;
  const name = style === 'coco' ? 'mAP@[.5:.95]' : 'mAP@.5';
  const thresholds = style === 'coco' ? COCO_THRESHOLDS : VOC_THRESHOLDS;
  const average = style === 'coco' ? averageAt101 : areaUnderEnvelope;
  return defineMetric<ImageMatches>({
    name,
    higherIsBetter: true,
    format: 'percent',
    score(outputs, sample) {
      const truths = sample.label as readonly TrueBox[];
      if (!Array.isArray(truths)) return badLabel(name, sample, 'a list of { box, class }');
      const detections = decode(outputs, sample);
      const matches = new Map<number, ClassMatches>();
      for (const c of new Set([...truths, ...detections].map((b) => b.class))) {
        matches.set(
          c,
          matchImage(
            detections.filter((d) => d.class === c),
            truths.filter((t) => t.class === c),
            thresholds,
            style,
          ),
        );
      }
      return matches;
    },
    reduce(images) {
      const byClass = new Map<number, ClassMatches[]>();
      for (const image of images) {
        for (const [c, m] of image) {
          const list = byClass.get(c);
          if (list) list.push(m);
          else byClass.set(c, [m]);
        }
      }
      let sum = 0;
      let count = 0;
      for (const matches of byClass.values()) {
        const positives = matches.reduce((n, m) => n + m.positives, 0);
        // A class without true boxes has no recall: it is left out.
        if (positives === 0) continue;
        const ranked = rank(matches);
        for (let t = 0; t < thresholds.length; t++) sum += average(curve(ranked, t, positives));
        count += thresholds.length;
      }
      return sum / count;
    },
  });
}

function matchImage(
  detections: readonly Detection[],
  truths: readonly TrueBox[],
  thresholds: readonly number[],
  style: 'coco' | 'voc',
): ClassMatches {
  const ranked = [...detections].sort((a, b) => b.score - a.score).slice(0, style === 'coco' ? 100 : undefined);
  // Boxes that count come first, so that a crowd is taken only when nothing else fits.
  const boxes = [...truths].sort((a, b) => Number(a.crowd ?? false) - Number(b.crowd ?? false));
  const overlaps = ranked.map((d) => boxes.map((t) => overlap(d.box, t.box, style === 'coco' && t.crowd === true)));
  const right = new Array<number>(ranked.length).fill(0);
  const ignored = new Array<number>(ranked.length).fill(0);
  for (const [t, threshold] of thresholds.entries()) {
    const taken = new Array<boolean>(boxes.length).fill(false);
    for (let d = 0; d < ranked.length; d++) {
      const found =
        style === 'coco'
          ? bestFree(overlaps[d] as number[], boxes, taken, threshold)
          : bestOfAll(overlaps[d] as number[], threshold);
      if (found < 0) continue;
      if (boxes[found]?.crowd) ignored[d]! |= 1 << t;
      else if (!taken[found]) right[d]! |= 1 << t;
      taken[found] = true;
    }
  }
  return { positives: boxes.filter((b) => !b.crowd).length, scores: ranked.map((d) => d.score), right, ignored };
}

/** COCO: the best box that is still free; a crowd may be taken again and again. The later of equal ones wins. */
function bestFree(
  overlaps: readonly number[],
  boxes: readonly TrueBox[],
  taken: readonly boolean[],
  threshold: number,
): number {
  let best = Math.min(threshold, 1 - 1e-10);
  let found = -1;
  for (let b = 0; b < boxes.length; b++) {
    const crowd = boxes[b]?.crowd === true;
    if (taken[b] && !crowd) continue;
    if (found >= 0 && crowd && !boxes[found]?.crowd) break;
    if ((overlaps[b] as number) < best) continue;
    best = overlaps[b] as number;
    found = b;
  }
  return found;
}

/** VOC: the best box, free or not; a second detection of a box is wrong. */
function bestOfAll(overlaps: readonly number[], threshold: number): number {
  let found = -1;
  for (let b = 0; b < overlaps.length; b++) {
    if ((overlaps[b] as number) > (found < 0 ? 0 : (overlaps[found] as number))) found = b;
  }
  return found >= 0 && (overlaps[found] as number) >= threshold ? found : -1;
}

/** Intersection over union; over the detection's own area when the truth is a crowd. */
function overlap(a: Box, b: Box, crowd: boolean): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (x: Box): number => (x[2] - x[0]) * (x[3] - x[1]);
  const intersection = width * height;
  return intersection / (crowd ? area(a) : area(a) + area(b) - intersection);
}

interface Ranked {
  readonly right: Uint32Array;
  readonly ignored: Uint32Array;
}

/** Detections of all images, best score first; in the order of the images where scores are equal. */
function rank(matches: readonly ClassMatches[]): Ranked {
  const scores = matches.flatMap((m) => m.scores);
  const right = matches.flatMap((m) => m.right);
  const ignored = matches.flatMap((m) => m.ignored);
  const order = Uint32Array.from(scores.keys()).sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
  return {
    right: order.map((i) => right[i] as number),
    ignored: order.map((i) => ignored[i] as number),
  };
}

interface Curve {
  readonly recall: readonly number[];
  /** Made falling: at each point the best precision from there on. */
  readonly precision: readonly number[];
}

function curve({ right, ignored }: Ranked, t: number, positives: number): Curve {
  const recall: number[] = [];
  const precision: number[] = [];
  let tp = 0;
  let fp = 0;
  for (let i = 0; i < right.length; i++) {
    if (((ignored[i] as number) >> t) & 1) continue;
    if (((right[i] as number) >> t) & 1) tp++;
    else fp++;
    recall.push(tp / positives);
    precision.push(tp / (tp + fp));
  }
  for (let i = precision.length - 2; i >= 0; i--) {
    precision[i] = Math.max(precision[i] as number, precision[i + 1] as number);
  }
  return { recall, precision };
}

function averageAt101({ recall, precision }: Curve): number {
  let sum = 0;
  let i = 0;
  for (let r = 0; r <= 100; r++) {
    while (i < recall.length && (recall[i] as number) < r / 100) i++;
    sum += precision[i] ?? 0;
  }
  return sum / 101;
}

function areaUnderEnvelope({ recall, precision }: Curve): number {
  let area = 0;
  let before = 0;
  for (let i = 0; i < recall.length; i++) {
    area += ((recall[i] as number) - before) * (precision[i] as number);
    before = recall[i] as number;
  }
  return area;
}

function decodeDefault(outputs: Outputs): Detection[] {
  const boxes = toNumbers(outputNamed(outputs, 'boxes', 'mAP'));
  const scores = toNumbers(outputNamed(outputs, 'scores', 'mAP'));
  const labels = toNumbers(outputNamed(outputs, 'labels', 'mAP'));
  return Array.from({ length: scores.length }, (_, i) => ({
    box: Array.from(boxes.subarray(4 * i, 4 * i + 4)) as unknown as Box,
    score: scores[i] as number,
    class: labels[i] as number,
  }));
}

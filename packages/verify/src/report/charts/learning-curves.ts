import type { CurvePoint, TrainingEpoch, TrainingEvidence, TrainingScore } from '../../evidence.js';
import { formatNumber, formatValue } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { extent, linearScale, logScale, type Scale } from '../scale.js';
import { type Axis, plot, share } from './axes.js';

/** From this ratio of the largest to the smallest loss on, the axis is logarithmic. */
const LOG_FROM = 8;
/** Bandwidth of the smoothed loss, as a share of the run. */
const BANDWIDTH = 0.012;
/** Curves with fewer points are not smoothed. */
const SMOOTHED_FROM = 40;

type Point = readonly [x: number, y: number];

/**
 * Loss by step (smoothed, over what was measured), accuracy and score by epoch, and the learning rate, one above the other over
 * the same axis of epochs; a line through all of them marks the epoch that was kept.
 */
export function learningCurves(training: TrainingEvidence): Html {
  const { epochs, curve, best, score } = training;
  const x = epochAxis(epochs.length);
  const kept = score
    ? html`<line class="kept" x1="${share(x.scale(best))}" x2="${share(x.scale(best))}" y1="0" y2="100%"/>`
    : null;
  const stepsPerEpoch = (curve.at(-1)?.step ?? 1) / epochs.length;
  const at = ({ step }: CurvePoint): number => x.scale(step / stepsPerEpoch);
  const panels = [lossPanel(training, at, x, kept), scorePanel(training, x, kept), ratePanel(training, at, kept)];
  const shown = panels.filter((panel) => panel !== null);
  return html`<div class="learning">${shown.map((panel, i) => panel(i === shown.length - 1 ? x : undefined))}</div>`;
}

/** Draws a panel; with the axis of epochs below when it is the last one. */
type Panel = (x: Axis | undefined) => Html;

function lossPanel(
  { curve, loss, epochs, score }: TrainingEvidence,
  at: (point: CurvePoint) => number,
  x: Axis,
  kept: Content,
): Panel | null {
  if (curve.length === 0) return null;
  const smooth = smoothed(curve.map((p) => p.loss));
  // A score that is the loss itself belongs to the same axis.
  const validation = score?.name === loss ? scoresOf(epochs, score) : [];
  const scale = lossScale([...smooth, ...quantiles(curve), ...validation.map(([, y]) => y)]);
  const top = curve.map((p): Point => [at(p), scale(p.high)]);
  const bottom = curve.map((p): Point => [at(p), scale(p.low)]).reverse();
  const marks = [
    lines(
      html`<path class="raw" d="${path([...top, ...bottom])}Z"/><path class="smooth" d="${path(
        curve.map((p, i): Point => [at(p), scale(smooth[i] as number)]),
      )}"/>`,
    ),
    series('validation', validation, x.scale, scale, (v) => `loss ${formatNumber(v)} on the validation samples`),
    kept,
  ];
  const [first, last] = [smooth[0], smooth.at(-1)] as [number, number];
  const label = `Training loss by step: it goes from ${formatNumber(first)} to ${formatNumber(last)}, smoothed.`;
  const isLog = scale.kind === 'log';
  const y = { scale, title: `Loss (${loss})${isLog ? ', logarithmic' : ''}`, format: formatNumber };
  return (below) => plot({ height: 220, label, x: below, y }, marks);
}

function scorePanel({ epochs, score, best, loss }: TrainingEvidence, x: Axis, kept: Content): Panel | null {
  const accuracy = epochs.flatMap((e): Point[] => (e.accuracy === null ? [] : [[e.epoch, e.accuracy]]));
  const own = score && score.name !== loss ? score : null;
  const scores = own ? scoresOf(epochs, own) : [];
  // Training accuracy is a share; it stands beside a score that is one.
  const both = own === null || own.format === 'percent' ? accuracy : [];
  // Single values are told in the table.
  if (Math.max(both.length, scores.length) < 2) return null;
  const format = own?.format ?? 'percent';
  const values = [...both, ...scores].map(([, y]) => y);
  const scale = linearScale(values, { count: 4, ...(format === 'percent' ? { max: 1 } : {}) });
  const write = (v: number): string => formatValue(v, format);
  const name = own?.name ?? 'accuracy';
  const marks = [
    series('training', both, x.scale, scale, (v) => `${write(v)} of the training samples, while the weights changed`),
    series('validation', scores, x.scale, scale, (v) => `${name} ${write(v)} on the validation samples`),
    scores
      .filter(([epoch]) => epoch === best)
      .map(([epoch, value]) => keptLabel(x.scale(epoch), scale(value), write(value))),
    kept,
  ];
  const told = scores.length > 0 ? scores : both;
  const label = `${name} by epoch${scores.length > 0 ? ' on the validation samples' : ' on the training samples'}: ${told
    .map(([, v]) => write(v))
    .join(', ')}.`;
  const title = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  return (below) => plot({ height: 150, label, x: below, y: { scale, title, format: write } }, marks);
}

function ratePanel({ curve }: TrainingEvidence, at: (point: CurvePoint) => number, kept: Content): Panel | null {
  const most = extent(curve.map((p) => p.learningRate))[1];
  if (curve.length === 0 || !(most > 0)) return null;
  const scale: Scale = Object.assign((v: number) => v / (most * 1.1), {
    domain: [0, most * 1.1] as const,
    ticks: [0, most],
  });
  const line = curve.map((p): Point => [at(p), scale(p.learningRate)]);
  const marks = [
    lines(html`<path class="rate" d="M0,1000L${points([[0, line[0]?.[1] ?? 0], ...line])}L1000,1000Z"/>`),
    kept,
  ];
  const label = `Learning rate: at most ${formatNumber(most)}, ${formatNumber(curve.at(-1)?.learningRate ?? 0)} at the end.`;
  return (below) =>
    plot({ height: 52, label, x: below, y: { scale, title: 'Learning rate', format: formatNumber } }, marks);
}

/** The validation score by epoch; epoch 0 is the model before training. */
function scoresOf(epochs: readonly TrainingEpoch[], { before }: TrainingScore): Point[] {
  return [{ epoch: 0, score: before }, ...epochs].flatMap(({ epoch, score }): Point[] =>
    score === null ? [] : [[epoch, score]],
  );
}

/** The numbers of epochs, from 0 to the last one. */
function epochAxis(epochs: number): Axis {
  const ticks = linearScale([0, epochs], { count: epochs < 2 ? 4 : 10 }).ticks.filter(
    (t) => t <= epochs && (epochs < 2 || Number.isInteger(t)),
  );
  const scale: Scale = Object.assign((epoch: number) => epoch / epochs, { domain: [0, epochs] as const, ticks });
  return { scale, title: 'epoch', format: (v) => formatNumber(v) };
}

function lossScale(values: readonly number[]): Scale & { readonly kind: 'log' | 'linear' } {
  const [low, high] = extent(values);
  return low > 0 && high / low >= LOG_FROM
    ? Object.assign(logScale(values, 0.04), { kind: 'log' as const })
    : Object.assign(linearScale(values, { zero: low > 0 && low < high / 2 }), { kind: 'linear' as const });
}

/** What nearly all of the curve lies between: a single spike shall not flatten the rest. */
function quantiles(curve: readonly CurvePoint[]): number[] {
  const at = (values: number[], share: number): number =>
    values.sort((a, b) => a - b)[Math.round(share * (values.length - 1))] as number;
  return [
    at(
      curve.map((p) => p.low),
      0.01,
    ),
    at(
      curve.map((p) => p.high),
      0.99,
    ),
  ];
}

/** Means weighted by a Gaussian of the distance in steps: centred, so that they do not lag behind as a running mean does. */
export function smoothed(values: readonly number[]): number[] {
  if (values.length < SMOOTHED_FROM) return [...values];
  const width = Math.max(2, BANDWIDTH * values.length);
  const reach = Math.ceil(3 * width);
  return values.map((_, i) => {
    // Near the ends the window shrinks, to stay centred on a loss that falls, down to a third: that much noise has to go.
    const own = Math.max(Math.min(reach, i, values.length - 1 - i), Math.ceil(reach / 3));
    let [sum, total] = [0, 0];
    for (let j = Math.max(0, i - own); j <= Math.min(values.length - 1, i + own); j++) {
      const weight = Math.exp(-0.5 * ((j - i) / width) ** 2);
      sum += weight * (values[j] as number);
      total += weight;
    }
    return sum / total;
  });
}

/** A drawing that stretches with the plot, 1000 units to each side, and is cut off at its borders. */
function lines(marks: Content): Html {
  return html`<svg class="lines" viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">${marks}</svg>`;
}

const points = (list: readonly Point[]): string =>
  list.map(([x, y]) => `${(1000 * x).toFixed(1)},${(1000 - 1000 * y).toFixed(1)}`).join('L');
const path = (list: readonly Point[]): string => `M${points(list)}`;

/** Values by epoch: a line with a mark at the end of each. */
function series(
  kind: 'training' | 'validation',
  list: readonly Point[],
  x: Scale,
  y: Scale,
  tell: (value: number) => string,
): Content {
  if (list.length === 0) return null;
  const places = list.map(([epoch, value]): Point => [x(epoch), y(value)]);
  return [
    places.length > 1 && lines(html`<path class="${kind}" d="${path(places)}"/>`),
    places.map(
      ([px, py], i) =>
        html`<svg class="dot ${kind}" x="${share(px)}" y="${share(1 - py)}"><title>${`${list[i]?.[0] === 0 ? 'Before' : `Epoch ${list[i]?.[0]}`}: ${tell(list[i]?.[1] ?? 0)}`}</title><circle r="${list.length > 40 ? 2 : 3.5}"/></svg>`,
    ),
  ];
}

/** Names the value that was kept, on the side that has room. */
function keptLabel(x: number, y: number, text: string): Html {
  const [dx, anchor] = x > 0.88 ? [6, 'end'] : x < 0.12 ? [-6, 'start'] : [0, 'middle'];
  const dy = y < 0.25 ? -19 : 22;
  return html`<svg class="dot kept-mark" x="${share(x)}" y="${share(1 - y)}"><circle r="6.5"/><text x="${dx}" y="${dy}" dy="0.32em" text-anchor="${anchor}">kept: ${text}</text></svg>`;
}

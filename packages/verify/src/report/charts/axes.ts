import { formatTick } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import type { Scale } from '../scale.js';

/** A share as an SVG length: `0.375` is `37.5%`. Plots use shares, so that they fit any width without scaling their text. */
export function share(value: number): string {
  return `${Number((value * 100).toFixed(2))}%`;
}

export interface Axis {
  readonly scale: Scale;
  readonly title: string;
  readonly format: (value: number) => string;
}

export interface PlotOptions {
  /** Height of the plot without its axes, px. */
  readonly height: number;
  /** What the picture shows, in a sentence: for those who do not see it. */
  readonly label: string;
  /** Left out where a plot below has the same one. */
  readonly x: Axis | undefined;
  readonly y: Axis;
}

/** A plot with horizontal grid lines and two axes around `marks`, whose places are shares of the plot's size. */
export function plot({ height, label, x, y }: PlotOptions, marks: Content): Html {
  return html`<div class="plot"><p class="axis-title">${y.title}</p><svg class="chart" width="100%" height="${height}" role="img" aria-label="${label}">
${y.scale.ticks.map((tick) => {
  const at = share(1 - y.scale(tick));
  return html`<line class="grid" x1="0" x2="100%" y1="${at}" y2="${at}"/><text class="tick" x="0" y="${at}" dx="-8" dy="0.32em" text-anchor="end">${formatTick(tick, y.format)}</text>`;
})}<line class="axis" x1="0" x2="100%" y1="100%" y2="100%"/>
${x && xTicks(x)}
${marks}</svg>${x && html`<p class="axis-title x">${x.title}</p>`}</div>`;
}

/** Ticks below a plot. */
export function xTicks(axis: Axis): Content {
  return thinTicks(axis).map(
    ([at, text]) => html`<text class="tick" x="${share(at)}" y="100%" dy="17" text-anchor="middle">${text}</text>`,
  );
}

/** Ticks with their texts, as many as have room beside each other on a plot of `width` px. */
export function thinTicks(
  { scale, format }: Pick<Axis, 'scale' | 'format'>,
  width = 290,
): (readonly [at: number, text: string])[] {
  const ticks: (readonly [number, string])[] = [];
  let free = Number.NEGATIVE_INFINITY;
  for (const tick of scale.ticks) {
    const text = formatTick(tick, format);
    const half = (text.length * 6.4) / 2;
    const x = scale(tick) * width;
    if (x - half < free) continue;
    ticks.push([scale(tick), text]);
    free = x + half + 12;
  }
  return ticks;
}

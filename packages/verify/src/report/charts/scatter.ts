import { type Html, html } from '../html.js';
import { paretoFront } from '../pareto.js';
import { type Axis, plot, share } from './axes.js';
import { LEADER, placeLabels } from './labels.js';

export interface ScatterPoint {
  readonly name: string;
  readonly kind: 'original' | 'recommended' | 'accepted' | 'refused';
  readonly x: number;
  readonly y: number;
  readonly xRange?: readonly [number, number] | undefined;
  readonly yRange?: readonly [number, number] | undefined;
  /** Lines of the tooltip. */
  readonly details: readonly string[];
}

export interface ScatterOptions {
  readonly label: string;
  readonly x: Axis;
  readonly y: Axis;
  /** Less is better on x; on y what this says. */
  readonly better: 'higher' | 'lower';
}

/** Width that labels are laid out for: that of a phone. On anything wider they are only further apart. */
const LAYOUT = { width: 290, height: 260 };
const LETTER = 6.3;

/** Variants as points with their intervals; the Pareto front of those that were not refused as the staircase that bounds what is reachable. */
export function scatter(points: readonly ScatterPoint[], { label, x, y, better }: ScatterOptions): Html {
  const sign = better === 'higher' ? -1 : 1;
  const offered = points.filter((p) => p.kind !== 'refused');
  const front = paretoFront(offered.map((p) => [p.x, sign * p.y]))
    .map((i) => offered[i] as ScatterPoint)
    .sort((a, b) => a.x - b.x || sign * (b.y - a.y));
  const px = (v: number): string => share(x.scale(v));
  const py = (v: number): string => share(1 - y.scale(v));
  const steps = front.slice(1).map((next, i) => {
    const from = front[i] as ScatterPoint;
    return html`<line class="front" x1="${px(from.x)}" y1="${py(from.y)}" x2="${px(next.x)}" y2="${py(from.y)}"/><line class="front" x1="${px(next.x)}" y1="${py(from.y)}" x2="${px(next.x)}" y2="${py(next.y)}"/>`;
  });
  const order: readonly ScatterPoint['kind'][] = ['recommended', 'original', 'accepted', 'refused'];
  const ranked = [...points].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  const placements = placeLabels(
    ranked.map((p) => ({
      x: x.scale(p.x) * LAYOUT.width,
      y: (1 - y.scale(p.y)) * LAYOUT.height,
      width: [...p.name].length * LETTER,
    })),
    LAYOUT,
  );
  const marks = ranked.map((p, i) => {
    const { dx, dy, anchor } = placements[i]!;
    return html`${whiskers(p, px, py)}<svg class="mark ${p.kind}" x="${px(p.x)}" y="${py(p.y)}"><title>${[p.name, ...p.details].join('\n')}</title>${Math.abs(dy) > LEADER && html`<line class="leader" x1="0" y1="0" x2="${dx * 0.8}" y2="${dy - Math.sign(dy) * 3}"/>`}${shapeOf(p.kind)}<text x="${dx}" y="${dy}" dy="0.32em" text-anchor="${anchor}">${p.name}</text></svg>`;
  });
  return plot({ height: LAYOUT.height, label, x, y }, [steps, marks.reverse()]);
}

function whiskers(p: ScatterPoint, px: (v: number) => string, py: (v: number) => string): readonly Html[] {
  const lines: Html[] = [];
  if (p.xRange)
    lines.push(
      html`<line class="whisker ${p.kind}" x1="${px(p.xRange[0])}" x2="${px(p.xRange[1])}" y1="${py(p.y)}" y2="${py(p.y)}"/>`,
    );
  if (p.yRange)
    lines.push(
      html`<line class="whisker ${p.kind}" x1="${px(p.x)}" x2="${px(p.x)}" y1="${py(p.yRange[0])}" y2="${py(p.yRange[1])}"/>`,
    );
  return lines;
}

/** Shape and colour both tell the kind: neither alone has to. */
export function shapeOf(kind: ScatterPoint['kind']): Html {
  if (kind === 'original') return html`<rect x="-5" y="-5" width="10" height="10" rx="1.5"/>`;
  if (kind === 'refused') return html`<path d="M-4.5-4.5 4.5 4.5M4.5-4.5-4.5 4.5"/>`;
  return html`<circle r="${kind === 'recommended' ? 6.5 : 5}"/>`;
}

import type { Dim, Shape } from '../ir/type.js';
import { broadcastDim } from './dim.js';

/** The shape of a multidirectional broadcast (NumPy rules); undefined when a rank is unknown. */
export function broadcastShapes(...shapes: readonly (Shape | undefined)[]): Shape | undefined {
  let result: Shape = [];
  for (const shape of shapes) {
    if (!shape) return undefined;
    const rank = Math.max(result.length, shape.length);
    const [a, b] = [padFront(result, rank), padFront(shape, rank)];
    result = a.map((d, i) => broadcastDim(d, b[i] as Dim));
  }
  return result;
}

const padFront = (shape: Shape, rank: number): Shape => [...new Array<Dim>(rank - shape.length).fill(1), ...shape];

import { chooseForms, WEIGHT_FORMS } from '../conv/choose.js';
import { convGeometry, transposedGeometry } from '../conv/geometry.js';
import { INPUT_FORMS } from '../conv/input-gradient.js';
import type { Adjoint, Pullback, Rule } from '../rule.js';
import { sumChannels } from './batch-normalization.js';

/** Convolutions: x [N, C, spatial...]. */
export const CONV: Readonly<Record<string, Rule>> = {
  // y = Conv(x, w) + b
  Conv: (op) => {
    if (isEmpty(op)) return zeros(op);
    const c = convGeometry(op.node, op.shape(0), op.shape(1), op.emit.shape(op.y()));
    const forms = chooseForms(c, op.emit.choices);
    return [
      () => INPUT_FORMS[forms.input].emit(op.emit, c, op.g(), op.x(1)),
      () => WEIGHT_FORMS[forms.weight].emit(op.emit, c, op.x(0), op.g()),
      () => sumChannels(op.emit, op.g()),
    ];
  },
  // y = ConvTranspose(x, w) + b is the input gradient of a convolution, so dx is that convolution of g; as the product is
  // linear in either, dw is the weight gradient with g and x in each other's place.
  ConvTranspose: (op) => {
    if (isEmpty(op)) return zeros(op);
    const c = transposedGeometry(op.node, op.shape(0), op.shape(1), op.emit.shape(op.y()));
    const forms = chooseForms(c, op.emit.choices);
    return [
      () => {
        const crop = (pads: readonly number[]): number[] => [0, 0, ...pads.map((n) => Math.min(0, n))];
        return op.emit.op('Conv', [op.emit.pad(op.g(), crop(c.begin), crop(c.end)), op.x(1)], {
          group: c.groups,
          kernel_shape: c.kernel,
          strides: c.strides,
          dilations: c.dilations,
          pads: [...c.begin, ...c.end].map((n) => Math.max(0, n)),
        });
      },
      () => WEIGHT_FORMS[forms.weight].emit(op.emit, c, op.g(), op.x(0)),
      () => sumChannels(op.emit, op.g()),
    ];
  },
};

/** Without an image or a channel nothing is multiplied. ONNX Runtime hangs or leaves memory as it was in such convolutions. */
const isEmpty = (op: Adjoint): boolean => op.emit.size(op.x()) === 0 || op.emit.size(op.y()) === 0;

function zeros(op: Adjoint): readonly Pullback[] {
  return op.node.inputs.map((_, i) => () => op.emit.fill(op.shape(i), 0, op.x(i)));
}

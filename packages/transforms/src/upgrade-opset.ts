import {
  float,
  inferTypes,
  type Model,
  type Node,
  PareError,
  Tensor,
  type Transform,
  type TransformResult,
  type Value,
} from '@pare/core';
import { Emitter } from './quantize/emit.js';

/** Options of `upgradeOpset`. */
export interface UpgradeOpsetOptions {
  /** Version of the default operator set to write the model in: 8 to 21. */
  readonly to: number;
}

const OLDEST = 7;
const NEWEST = 21;

/**
 * Rewrites a model of an older opset in a newer one, operator by operator as the changes of the ONNX operator specification
 * ask, so that what needs new operators (quantization) can use them. A model that is new enough stays as it is.
 * @throws PareError `unsupported` for opsets below 7, for operators whose meaning cannot be kept, and for local functions;
 *   `bad-option` for a version above 21. The model is then half converted: work on a copy.
 */
export function upgradeOpset(options: UpgradeOpsetOptions): Transform {
  return { name: 'upgradeOpset', apply: (model) => upgrade(model, options.to) };
}

/** `upgradeOpset` for transforms that need a newer opset themselves. */
export function upgrade(model: Model, to: number): TransformResult {
  const from = model.opset;
  if (!Number.isInteger(to) || to > NEWEST) {
    throw new PareError('bad-option', `Models can be upgraded to opset ${NEWEST} at most, not ${to}.`);
  }
  if (from >= to) return { changed: 0, notes: [] };
  if (from < OLDEST) {
    throw new PareError(
      'unsupported',
      `The model is opset ${from}; below ${OLDEST} operators broadcast in other ways.`,
    );
  }
  if (model.functions.length > 0) {
    throw new PareError('unsupported', 'A model with local functions cannot be upgraded; inline them first.');
  }
  const types = inferTypes(model);
  const rankOf = (value: Value | null | undefined): number | undefined => {
    const type = value ? types.typeOf(value) : undefined;
    return type?.kind === 'tensor' ? type.shape?.length : undefined;
  };
  const changed = new Set<Node>();
  for (const [version, rules] of CHANGES) {
    if (version <= from || version > to) continue;
    for (const node of [...model.allNodes()]) {
      const rule = node.domain === '' ? rules[node.opType] : undefined;
      if (rule && rule(node, rankOf) !== false) changed.add(node);
    }
  }
  model.opsets.set('', to);
  return {
    changed: changed.size,
    notes: [`Rewrote the model from opset ${from} to ${to}; ${changed.size} nodes have a new form.`],
  };
}

/** Brings a node from the form before a version to that of the version; false when it was fine as it is. */
type Rule = (node: Node, rankOf: (value: Value | null | undefined) => number | undefined) => boolean | undefined;

function refuse(node: Node, what: string): never {
  throw new PareError('unsupported', `${node.label} cannot be written in a newer opset: ${what}.`);
}

/** Makes attribute `name` (integers) input `index`. */
function intsToInput(name: string, index: number): Rule {
  return (node) => {
    const values = node.ints(name);
    if (!values) return false;
    node.setInput(index, new Emitter(node).constant(name, Tensor.of('int64', [values.length], values)));
    node.deleteAttribute(name);
    return true;
  };
}

function scalarInput(node: Node, name: string, index: number): void {
  const value = node.float(name);
  if (value === undefined) return;
  node.setInput(index, new Emitter(node).constant(name, Tensor.of('float32', [], [value])));
  node.deleteAttribute(name);
}

const slice: Rule = (node) => {
  const starts = node.ints('starts') ?? [];
  const axes = node.ints('axes') ?? starts.map((_, i) => i);
  const emit = new Emitter(node);
  const lists = { starts, ends: node.ints('ends') ?? [], axes };
  for (const [i, [name, list]] of Object.entries(lists).entries()) {
    node.setInput(i + 1, emit.constant(name, Tensor.of('int64', [list.length], list)));
    node.deleteAttribute(name);
  }
  return true;
};

const topK: Rule = (node) => {
  const k = node.int('k');
  if (k === undefined) return false;
  node.setInput(1, new Emitter(node).constant('k', Tensor.of('int64', [1], [k])));
  node.deleteAttribute('k');
  return true;
};

const upsampleScales: Rule = (node) => {
  const scales = node.floats('scales');
  if (!scales) return false;
  node.setInput(1, new Emitter(node).constant('scales', Tensor.of('float32', [scales.length], [...scales])));
  node.deleteAttribute('scales');
  return true;
};

const upsampleToResize: Rule = (node) => {
  node.opType = 'Resize';
  return true;
};

/** Before 11, Resize mapped coordinates asymmetrically and took the lower neighbour, the upper one when shrinking. */
const resize: Rule = (node) => {
  const [x, scales] = node.inputs;
  const shrinks = scales?.constant?.numbers()?.some((s) => s < 1) ?? false;
  const roi = new Emitter(node).constant('roi', Tensor.of('float32', [0], []));
  node.setInputs([x ?? null, roi, scales ?? null]);
  node.setAttribute('coordinate_transformation_mode', 'asymmetric');
  if (node.string('mode', 'nearest') === 'nearest') node.setAttribute('nearest_mode', shrinks ? 'ceil' : 'floor');
  return true;
};

const clip: Rule = (node, _rank) => {
  if (!node.attributes.has('min') && !node.attributes.has('max')) return false;
  scalarInput(node, 'min', 1);
  scalarInput(node, 'max', 2);
  return true;
};

const pad: Rule = (node) => {
  const fill = node.float('value', 0);
  node.deleteAttribute('value');
  const changed = intsToInput('pads', 1)(node, () => undefined);
  if (fill !== 0) node.setInput(2, new Emitter(node).constant('value', Tensor.of('float32', [], [fill])));
  return changed;
};

const scatter: Rule = (node) => {
  node.opType = 'ScatterElements';
  return true;
};

const dropMask: Rule = (node) => {
  const mask = node.outputs[1];
  if (!mask) return false;
  if (!mask.isUnused) refuse(node, 'its mask changes type and is read');
  node.setOutput(1, null);
  return true;
};

const dropout: Rule = (node) => {
  if (!node.attributes.has('ratio')) return false;
  node.deleteAttribute('ratio');
  return true;
};

const batchNormalizationSpatial: Rule = (node) => {
  if (node.int('spatial', 1) === 0) refuse(node, 'it normalizes every position by itself (spatial = 0)');
  if (!node.attributes.has('spatial')) return false;
  node.deleteAttribute('spatial');
  return true;
};

const batchNormalizationOutputs: Rule = (node) => {
  const extra = node.outputs.slice(1);
  if (extra.some((v) => v && !v.isUnused)) refuse(node, 'its running statistics are read');
  for (let i = node.outputs.length - 1; i > 0; i--) node.setOutput(i, null);
  return extra.length > 0;
};

/** Before 13 these worked on the input flattened to a matrix at `axis` (default 1); since then along `axis` alone. */
const softmax: Rule = (node, rankOf) => {
  const axis = node.int('axis', 1);
  const rank = rankOf(node.inputs[0]);
  if (axis === -1 || (rank !== undefined && axis === rank - 1)) {
    node.setAttribute('axis', -1);
    return true;
  }
  const emit = new Emitter(node);
  const x = node.inputs[0] as Value;
  const flat = emit.op('Flatten', [x], { attributes: { axis } });
  const shape = emit.op('Shape', [x]);
  const output = emit.releaseOutput();
  emit.op('Reshape', [emit.op(node.opType, [flat], { attributes: { axis: -1 } }), shape], { into: output });
  emit.finish();
  return true;
};

/** From 18 on, a Split into equal parts says into how many. */
const splitCount: Rule = (node) => {
  if (node.inputs[1]) return false;
  node.setAttribute('num_outputs', node.outputs.length);
  return true;
};

const roiAlign: Rule = (node) => {
  if (node.attributes.has('coordinate_transformation_mode')) return false;
  node.setAttribute('coordinate_transformation_mode', 'output_half_pixel');
  return true;
};

const GRID_MODES: Readonly<Record<string, string>> = { bilinear: 'linear', bicubic: 'cubic' };
const gridSample: Rule = (node) => {
  const mode = GRID_MODES[node.string('mode', 'bilinear')];
  if (!mode) return false;
  node.setAttribute('mode', mode);
  return true;
};

const dft: Rule = (node) => {
  const axis = node.int('axis', 1);
  node.deleteAttribute('axis');
  node.setInput(2, new Emitter(node).constant('axis', Tensor.of('int64', [], [axis])));
  return true;
};

/** Before 21, scale and bias had an element a group: an instance normalization with the groups as channels. */
const groupNormalization: Rule = (node) => {
  const [x, scale, bias] = node.inputs as [Value, Value, Value];
  const emit = new Emitter(node);
  const groups = Tensor.of('int64', [3], [0, node.int('num_groups', 1), -1]);
  const grouped = emit.op('Reshape', [x, emit.constant('groups', groups)]);
  const attributes = { epsilon: float(node.float('epsilon', 1e-5)) };
  const normal = emit.op('InstanceNormalization', [grouped, scale, bias], { attributes });
  const shape = emit.op('Shape', [x]);
  const output = emit.releaseOutput();
  emit.op('Reshape', [normal, shape], { into: output });
  emit.finish();
  return true;
};

const REDUCTIONS = ['L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'SumSquare'];
const reductions = Object.fromEntries(REDUCTIONS.map((name) => [`Reduce${name}`, intsToInput('axes', 1)]));

/** What changed for models, by the version that changed it (ONNX operator changelog). */
const CHANGES: readonly (readonly [number, Readonly<Record<string, Rule>>])[] = [
  [
    9,
    {
      Upsample: upsampleScales,
      BatchNormalization: batchNormalizationSpatial,
      Scan: (n) => refuse(n, 'Scan of opset 8'),
    },
  ],
  [10, { Slice: slice, TopK: topK, Upsample: upsampleToResize, Dropout: dropMask }],
  [11, { Resize: resize, Clip: clip, Pad: pad, Scatter: scatter }],
  [12, { Dropout: dropout }],
  [
    13,
    {
      Softmax: softmax,
      LogSoftmax: softmax,
      Hardmax: softmax,
      Squeeze: intsToInput('axes', 1),
      Unsqueeze: intsToInput('axes', 1),
      ReduceSum: intsToInput('axes', 1),
      Split: intsToInput('split', 1),
      Resize: (node) =>
        node.string('coordinate_transformation_mode') === 'tf_half_pixel_for_nn'
          ? refuse(node, 'its coordinate mode tf_half_pixel_for_nn is gone')
          : false,
    },
  ],
  [14, { BatchNormalization: batchNormalizationOutputs }],
  [16, { RoiAlign: roiAlign }],
  [18, { ...reductions, Split: splitCount }],
  [20, { GridSample: gridSample, DFT: dft }],
  [21, { GroupNormalization: groupNormalization }],
];

import { type Model, PareError } from '@pare/core';
import { nodeCpu } from './targets/node-cpu.js';
import { unsupportedOn } from './targets/unsupported.js';

/** Opsets of the default domain that ONNX Runtime 1.30 promises to run. */
const OLDEST = 7;
const NEWEST = 26;

/** @throws PareError `unsupported` for a model of an opset that the runtime does not know. */
export function refuseOpset(model: Model): void {
  const { opset } = model;
  if (opset === 0 || (opset >= OLDEST && opset <= NEWEST)) return;
  const way =
    opset < OLDEST
      ? 'Export the model again with a newer one'
      : 'Export the model again with an older one, or update Pare';
  throw new PareError(
    'unsupported',
    `The model is opset ${opset}; the runtime knows opset ${OLDEST} to ${NEWEST}. ${way}.`,
  );
}

/**
 * What `error`, thrown while the runtime opened or ran `model`, is better said as: the operators that the runtime does not have;
 * else `error` itself.
 */
export function explainFailure(error: unknown, model: Model): unknown {
  if (!(error instanceof PareError) || (error.code !== 'engine' && error.code !== 'bad-model')) return error;
  const [first, ...others] = unsupportedOn(model, nodeCpu('other'));
  if (!first) return error;
  const more = others.length > 0 ? ` (and ${others.map((o) => o.operator).join(', ')})` : '';
  return new PareError(
    'unsupported',
    `The runtime cannot run the model: it has no kernel for ${first.operator}${more}, of node ${first.example}. ` +
      'Custom operators and their libraries are not loaded; export the model with standard ones.',
    { cause: error },
  );
}

import { type Dataset, datasetOf, type HostTensor, PareError, type Sample } from '@pare/core';

/**
 * A dataset from JSON lines: one object a line, one key a model input with a number or a nested array of numbers (or texts) as
 * its value, and optionally `label` and `id`:
 *
 * ```json
 * {"input_ids": [101, 7592, 102], "attention_mask": [1, 1, 1], "label": 1}
 * ```
 *
 * Arrays of integers become int64, other numbers float64; the matching with the model converts further.
 * @throws PareError `bad-data` naming `file`, the line and the key.
 */
export function jsonlDataset(text: string, file = 'file'): Dataset {
  const samples: Sample[] = [];
  for (const [i, line] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    if (line.trim() === '') continue;
    samples.push(parseSample(line, `Line ${i + 1} of ${file}`));
  }
  return datasetOf(samples, { name: file });
}

function parseSample(line: string, where: string): Sample {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (cause) {
    throw new PareError('bad-data', `${where} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new PareError('bad-data', `${where} must be an object with one key a model input.`);
  }
  const inputs: Record<string, HostTensor> = {};
  const about: { label?: unknown; id?: string } = { id: where.toLowerCase() };
  for (const [key, value] of Object.entries(parsed)) {
    if (key === 'label' || key === 'labels') about.label = value;
    else if (key === 'id') about.id = String(value);
    else inputs[key] = tensorOfJson(value, `Key "${key}" on ${where.toLowerCase()}`);
  }
  if (Object.keys(inputs).length === 0) throw new PareError('bad-data', `${where} has no model input.`);
  return { inputs, ...about };
}

/**
 * A nested array of numbers, booleans or strings as a tensor: integers int64, other numbers float64, booleans bool.
 * @throws PareError `bad-data` starting with `where`, for ragged or mixed arrays.
 */
export function tensorOfJson(value: unknown, where = 'The value'): HostTensor {
  const dims: number[] = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) {
    dims.push(inner.length);
    if (dims.length > 32) throw new PareError('bad-data', `${where} is nested more than 32 deep.`);
  }
  const flat: unknown[] = [];
  const collect = (item: unknown, depth: number): void => {
    if (depth === dims.length) {
      if (Array.isArray(item)) throw new PareError('bad-data', `${where} is ragged: its rows are not equally deep.`);
      flat.push(item);
      return;
    }
    if (!Array.isArray(item) || item.length !== dims[depth]) {
      throw new PareError('bad-data', `${where} is ragged: its rows do not have equal length.`);
    }
    for (const element of item) collect(element, depth + 1);
  };
  collect(value, 0);
  if (flat.length === 0) throw new PareError('bad-data', `${where} is an empty array.`);
  const kind = typeof flat[0];
  if (!['number', 'string', 'boolean'].includes(kind) || flat.some((v) => typeof v !== kind)) {
    throw new PareError('bad-data', `${where} must hold numbers only (or booleans only, or texts only).`);
  }
  if (kind === 'string') return { dtype: 'string', dims, data: flat as string[] };
  if (kind === 'boolean') return { dtype: 'bool', dims, data: Uint8Array.from(flat as boolean[], Number) };
  const numbers = flat as number[];
  return numbers.every(Number.isSafeInteger)
    ? { dtype: 'int64', dims, data: BigInt64Array.from(numbers, BigInt) }
    : { dtype: 'float64', dims, data: Float64Array.from(numbers) };
}

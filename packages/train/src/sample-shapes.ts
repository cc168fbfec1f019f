import { type Dataset, fitData, fitSample, type HostTensor, PareError, type Port } from '@pare/core';

/** Shape of each input for one sample, from the first one. */
export async function sampleShapes(
  dataset: Dataset,
  ports: readonly Port[],
): Promise<Record<string, readonly number[]>> {
  for await (const sample of dataset) {
    const fit = fitData(sample, ports, dataset.name);
    const tensors = fitSample(sample, ports, fit, dataset.name, 0);
    return Object.fromEntries(ports.map((port, i) => [port.name, (tensors[i] as HostTensor).dims]));
  }
  throw new PareError('bad-data', `${dataset.name} has no samples: there is nothing to train on.`);
}

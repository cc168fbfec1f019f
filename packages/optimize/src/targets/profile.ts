/** Where a model will run. */
export type TargetName = 'node-cpu' | 'web-wasm' | 'web-webgpu';

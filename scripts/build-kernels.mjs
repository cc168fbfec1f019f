// Compiles the WASM SIMD kernels. Filled by the kernels of packages/transforms.

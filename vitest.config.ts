import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'docs/**/*.test.ts'],
    testTimeout: 30_000,
    // Two cores is the size of the machine that must pass: more forks only make each other late.
    maxWorkers: 2,
    pool: 'forks',
  },
});

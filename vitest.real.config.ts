import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/real/**/*.test.ts'],
    globalSetup: 'test/real/servers/global-setup.ts',
    pool: 'forks',
    // The servers are shared, and two cores are all there is.
    fileParallelism: false,
    // On a machine of their own most tests take a second or two; the patience is for a crowded one.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});

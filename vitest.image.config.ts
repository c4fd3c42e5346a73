import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/image/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    // The first run makes a Debian, and compiles Amazon's runtime interface client.
    hookTimeout: 1_800_000,
    // The tables are what people read.
    disableConsoleIntercept: true,
  },
});

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Suites that need servers or browsers have a command (and a folder) of their own.
    exclude: ['test/real/**', 'test/image/**', 'test/browser/**'],
    // Native parts (FFmpeg, ONNX Runtime) dislike worker threads; a crash must cost one file.
    pool: 'forks',
    testTimeout: 30_000,
  },
});

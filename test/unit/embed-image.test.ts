import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

it('builds the embed image from the versions that the tests run with', () => {
  const { dependencies, devDependencies } = read('functions/embed/image/package.json');
  const { packages } = read('package-lock.json');
  const image = { ...dependencies, ...devDependencies };

  const shared = Object.keys(image).filter((name) => `node_modules/${name}` in packages);

  // The runtime interface client is the image's own.
  expect(shared.sort()).toEqual(['esbuild', 'onnxruntime-node', 'zod']);
  for (const name of shared) expect(image[name], name).toBe(packages[`node_modules/${name}`].version);
});

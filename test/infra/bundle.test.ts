import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ARCHITECTURE } from '../../functions/constants.ts';
import { bundleFunctions, measure } from '../../infra/bundle.ts';
import { LAMBDA_LIMIT_BYTES } from '../../layers/media/build.ts';

const folder = mkdtempSync(join(tmpdir(), 'refrain-bundle-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('what is deployed as zip files', () => {
  it('stays under the limit of Lambda, layer and all', async () => {
    // As it is deployed: for Lambda's processor, whichever this machine has.
    const bytes = await measure(await bundleFunctions(join(folder, 'bundles')));

    for (const [name, size] of Object.entries(bytes)) {
      console.log(
        `${name} and its layer (${ARCHITECTURE}): ${(size / 1e6).toFixed(1)} MB of 262.1 MB unzipped`,
      );
      expect(size, name).toBeLessThan(262_144_000);
    }
    expect(Object.keys(bytes)).toEqual(['scan', 'register']);
  }, 120_000);

  it('is refused when it does not', async () => {
    const [small, large] = ['small', 'large'].map((name) => {
      const path = mkdtempSync(join(folder, name));
      writeFileSync(join(path, 'lambda.mjs'), '');
      return path;
    });
    // Takes no place on the disk.
    truncateSync(join(large!, 'lambda.mjs'), LAMBDA_LIMIT_BYTES + 1);

    await expect(measure({ scan: small!, register: large!, mediaLayer: small! })).rejects.toThrow(
      'register and its layer have 262144001 bytes',
    );
    await expect(measure({ scan: small!, register: small!, mediaLayer: small! })).resolves.toBeDefined();
  });
});

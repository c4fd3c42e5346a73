import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { ARCHITECTURE } from '../../functions/constants.ts';

/** Lambda's limit for a zip function and its layers together, unpacked. */
export const LAMBDA_LIMIT_BYTES = 262_144_000;

/** What is kept free for the code of the functions. */
const FUNCTION_BYTES = 20 * 1024 * 1024;

const NODE_MODULES = join(import.meta.dirname, '../../node_modules');

/**
 * Builds the layer that the zip functions decode with: `nodejs/node_modules` holds node-av's thin JavaScript and
 * FFmpeg for Lambda's Linux, and nothing else of what npm would install.
 * @param outdir emptied first
 * @returns `outdir`
 * @throws Error if the layer and a function could not be deployed together
 */
export async function buildMediaLayer(
  outdir: string,
  architecture: 'arm64' | 'x64' = ARCHITECTURE,
): Promise<string> {
  const target = join(outdir, 'nodejs/node_modules');
  await rm(outdir, { recursive: true, force: true });

  for (const file of await filesOfNodeAv()) {
    await mkdir(dirname(join(target, file)), { recursive: true });
    await cp(join(NODE_MODULES, file), join(target, file));
  }
  const binary = `@seydx/node-av-linux-${architecture}`;
  await withPackage(binary, async (folder) => {
    await cp(folder, join(target, binary), { recursive: true });
  });

  const bytes = await sizeOf(outdir);
  if (bytes > LAMBDA_LIMIT_BYTES - FUNCTION_BYTES) {
    throw new Error(
      `the media layer has ${bytes} bytes, which leaves less than ${FUNCTION_BYTES} of Lambda's ` +
        `${LAMBDA_LIMIT_BYTES} for a function`,
    );
  }
  return outdir;
}

/** What the decoder's imports reach, relative to `node_modules`; node-av's servers and command lines stay behind. */
async function filesOfNodeAv(): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents: "import 'node-av/lib'; import 'node-av/constants';", resolveDir: NODE_MODULES },
    absWorkingDir: NODE_MODULES,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    treeShaking: false,
    external: ['@seydx/*'],
    logLevel: 'error',
  });
  const scripts = Object.keys(metafile.inputs).filter((file) => file.startsWith('node-av/'));
  return ['node-av/package.json', 'node-av/LICENSE.md', ...scripts];
}

/** Lends a package of node-av's version: the installed one, or a fetched one if it is of another platform. */
async function withPackage(name: string, use: (folder: string) => Promise<void>): Promise<void> {
  const installed = join(NODE_MODULES, name);
  if (await stat(installed).catch(() => undefined)) return use(installed);

  const { version } = JSON.parse(await readFile(join(NODE_MODULES, 'node-av/package.json'), 'utf8'));
  const folder = await mkdtemp(join(tmpdir(), 'refrain-layer-'));
  try {
    const install = ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--force', '--no-audit'];
    const platform = name.endsWith('arm64') ? 'arm64' : 'x64';
    await promisify(execFile)('npm', [...install, '--os=linux', `--cpu=${platform}`, `${name}@${version}`]);
    await use(join(folder, 'node_modules', name));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Bytes of all files below a folder. */
export async function sizeOf(folder: string): Promise<number> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = files
    .filter((file) => file.isFile())
    .map(async (file) => (await stat(join(file.parentPath, file.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

if (import.meta.main) {
  const folder = await buildMediaLayer(
    process.argv[2] ?? join(import.meta.dirname, '../../cdk.out/media-layer'),
  );
  const megabytes = ((await sizeOf(folder)) / 1e6).toFixed(1);
  console.log(`${folder}: ${megabytes} MB of Lambda's ${LAMBDA_LIMIT_BYTES / 1e6} MB`);
}

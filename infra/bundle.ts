import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { MODEL } from '../functions/constants.ts';
import { buildMediaLayer, LAMBDA_LIMIT_BYTES, sizeOf } from '../layers/media/build.ts';

/** Folders that are ready to become Lambda assets. */
export interface Bundles {
  /** `lambda.mjs` of the scan function, with what it reads beside it. */
  scan: string;
  register: string;
  /** FFmpeg, for both. */
  mediaLayer: string;
}

const ROOT = join(import.meta.dirname, '..');

/** Where Lambda unpacks the media layer. */
const LAYER = '/opt/nodejs/node_modules';

/**
 * Bundles the zip functions and builds their layer.
 * @param nodeModules where `node-av` lies when the functions run
 */
export async function bundleFunctions(
  outdir = join(ROOT, 'cdk.out/bundles'),
  nodeModules = LAYER,
): Promise<Bundles> {
  const [scan, register] = await Promise.all(
    ['scan', 'register'].map((name) => bundleFunction(name, join(outdir, name), nodeModules)),
  );
  const bundles = {
    scan: scan!,
    register: register!,
    mediaLayer: await buildMediaLayer(join(outdir, 'media-layer')),
  };
  await measure(bundles);
  return bundles;
}

/**
 * How much of Lambda's limit each zip function takes, together with its layer.
 * @throws Error when Lambda would refuse one of them
 */
export async function measure({ mediaLayer, ...functions }: Bundles): Promise<Record<string, number>> {
  const layerBytes = await sizeOf(mediaLayer);
  const bytes: Record<string, number> = {};
  for (const [name, folder] of Object.entries(functions)) {
    bytes[name] = (await sizeOf(folder)) + layerBytes;
    if (bytes[name] > LAMBDA_LIMIT_BYTES) {
      throw new Error(
        `${name} and its layer have ${bytes[name]} bytes unzipped; Lambda takes ${LAMBDA_LIMIT_BYTES}`,
      );
    }
  }
  return bytes;
}

/** One function as a folder: `lambda.mjs`, the decoder's process beside it, and the model's manifest. */
export async function bundleFunction(name: string, folder: string, nodeModules = LAYER): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build({
    entryPoints: {
      lambda: join(ROOT, 'functions', name, 'lambda.ts'),
      'decode-child': join(ROOT, 'functions/adapters/media/decode-child.ts'),
    },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minifySyntax: true,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    // opensearch-js still requires some of its parts at run time.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    plugins: [layered('node-av', nodeModules)],
    logLevel: 'warning',
  });
  copyFileSync(join(ROOT, 'models', MODEL, 'model.json'), join(folder, 'model.json'));
  return folder;
}

/**
 * Leaves a package to the layer. ES modules do not look into `/opt` by themselves, as CommonJS does through
 * NODE_PATH, so the imports name the files there.
 */
function layered(name: string, nodeModules: string): Plugin {
  return {
    name: `${name} from the layer`,
    setup({ onResolve }) {
      onResolve({ filter: new RegExp(`^${name}(/|$)`) }, ({ path }) => {
        const file = import.meta.resolve(path).split(`/node_modules/`).at(-1)!;
        return { path: `${nodeModules}/${file}`, external: true };
      });
    },
  };
}

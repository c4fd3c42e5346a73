import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { need } from '../real/servers/install.ts';
import { Buildah, type OciImage } from './buildah.ts';
import { installTools } from './tools.ts';

const exec = promisify(execFile);

const ROOT = join(import.meta.dirname, '../..');
const TAG = 'refrain-embed';
/** The npm that comes with Node 24. */
const NPM = '11';
/** What the slim image of Debian leaves out, and what is of this machine. */
const NOT_IN_SLIM = [
  ...['usr/share/doc/*', 'usr/share/info/*', 'usr/share/locale/*', 'usr/share/man/*'],
  ...['dev/*', 'var/cache/apt/*', 'var/lib/apt/lists/*', 'var/log/*.log'],
];
const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';

export interface EmbedImage extends OciImage {
  /** A root file system of its own, which the caller closes. */
  open(): Promise<{ root: string; close(): Promise<void> }>;
}

/** Builds the embed image for this machine's platform, from the unchanged Dockerfile. */
export async function buildEmbedImage(): Promise<EmbedImage> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new Error(
      'the tests of the image need root on Linux: they mount file systems (or have Docker build it)',
    );
  }
  const buildah = await Buildah.install();
  await buildBase(buildah);
  await inTemporaryFolder(async (folder) => {
    await buildah.build(ROOT, {
      file: join(ROOT, 'functions/embed/Dockerfile'),
      tag: TAG,
      mounts: await registrySettings(folder),
    });
  });
  return { ...(await buildah.inspect(TAG)), open: () => buildah.open(TAG) };
}

/** A stand-in of the base image: Debian by debootstrap, Node and npm from npm's registry, the user `node`. */
async function buildBase(buildah: Buildah): Promise<void> {
  const label = `refrain.base=node-${process.versions.node}`;
  if (await buildah.has(label)) return;
  await inTemporaryFolder(async (folder) => {
    await Promise.all([bootstrapDebian(folder), fetchNode(folder)]);
    await buildah.build(folder, {
      file: join(import.meta.dirname, 'base.Containerfile'),
      tag: 'node:24-bookworm-slim',
      labels: [label],
    });
  });
}

async function bootstrapDebian(folder: string): Promise<void> {
  const tools = await installTools();
  const debian = join(folder, 'debian');
  const keyring = join(tools, 'usr/share/keyrings/debian-archive-keyring.gpg');
  await need(
    'env',
    [
      `DEBOOTSTRAP_DIR=${join(tools, 'usr/share/debootstrap')}`,
      join(tools, 'usr/sbin/debootstrap'),
      ...['--variant=minbase', `--keyring=${keyring}`, 'bookworm', debian],
    ],
    'debootstrap',
  );
  const leftOut = NOT_IN_SLIM.map((path) => `--exclude=./${path}`);
  await need('tar', ['-C', debian, ...leftOut, '-cf', `${debian}.tar`, '.'], 'tar');
}

async function fetchNode(folder: string): Promise<void> {
  const packages = { node: `node-linux-${process.arch}@${process.versions.node}`, npm: `npm@${NPM}` };
  for (const [name, spec] of Object.entries(packages)) {
    const [packed, unpacked] = [join(folder, `${name}-packed`), join(folder, name)];
    for (const path of [packed, unpacked]) await mkdir(path);
    await need('npm', ['pack', '--silent', '--pack-destination', packed, spec], 'npm');
    const [archive] = await readdir(packed);
    await need('tar', ['-C', unpacked, '--strip-components=1', '-xzf', join(packed, archive!)], 'tar');
  }
  // 50 MB of headers, one set for each platform; the official image keeps one, and nothing here asks for it.
  await rm(join(folder, 'node/include/node/openssl/archs'), { recursive: true });
}

/**
 * How this machine reaches its registries, as files to be mounted while the image is built, so that nothing of it is
 * in the image. (Proxies in the environment are passed on by buildah itself.)
 */
async function registrySettings(folder: string): Promise<string[]> {
  const { stdout } = await exec('npm', ['config', 'list', '--json'], { cwd: ROOT });
  const config = JSON.parse(stdout) as Record<string, unknown>;
  const authorities = config.cafile ?? process.env.NODE_EXTRA_CA_CERTS;
  const settings = {
    registry: config.registry,
    proxy: config.proxy,
    'https-proxy': config['https-proxy'],
    'strict-ssl': config['strict-ssl'],
    cafile: authorities && CA_BUNDLE,
  };
  const npmrc = join(folder, 'npmrc');
  await writeFile(
    npmrc,
    [
      // Credentials are nowhere else.
      await readFile(String(config.userconfig), 'utf8').catch(() => ''),
      ...Object.entries(settings).flatMap(([key, value]) => (value == null ? [] : [`${key}=${value}`])),
    ].join('\n'),
  );
  return [`${npmrc}:/root/.npmrc:ro`, ...(authorities ? [`${authorities}:${CA_BUNDLE}:ro`] : [])];
}

async function inTemporaryFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'refrain-image-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CACHE } from '../real/servers/install.ts';
import { installTools } from './tools.ts';

const exec = promisify(execFile);

/** A whole build says less than this. */
const OUTPUT_BYTES = 64 * 1024 * 1024;

/** Builds and opens images as `docker` does, but without a daemon, and in a store of its own inside the cache. */
export class Buildah {
  readonly #command: string;
  readonly #policy: string;
  readonly #driver: 'overlay' | 'vfs';

  private constructor(tools: string, driver: 'overlay' | 'vfs') {
    this.#command = join(tools, 'usr/bin/buildah');
    this.#policy = join(tools, 'policy.json');
    this.#driver = driver;
  }

  static async install(): Promise<Buildah> {
    const tools = await installTools();
    const overlay = new Buildah(tools, 'overlay');
    // Overlays cannot lie on overlays, which is what most containers have. Then every layer is a whole copy.
    const buildah = (await overlay.#works()) ? overlay : new Buildah(tools, 'vfs');
    // What a run that was killed has left mounted.
    await buildah.#run('rm', '--all');
    // Without layers to build on, the images of former runs are of no use.
    if (buildah.#driver === 'vfs') await buildah.#run('rmi', '--prune');
    return buildah;
  }

  /** @param mounts `FILE:PLACE:ro`, for the time of the build only */
  async build(
    context: string,
    {
      file,
      tag,
      mounts = [],
      labels = [],
    }: { file: string; tag: string; mounts?: string[]; labels?: string[] },
  ): Promise<void> {
    await this.#run(
      ...['build', '--isolation', 'chroot', '--pull-never', '--force-rm', '--signature-policy', this.#policy],
      // Copies of every layer would fill the disk.
      `--layers=${this.#driver === 'overlay'}`,
      ...mounts.flatMap((mount) => ['--volume', mount]),
      ...labels.flatMap((label) => ['--label', label]),
      ...['--file', file, '--tag', tag, context],
    );
  }

  async has(label: string): Promise<boolean> {
    return (await this.#run('images', '--quiet', '--filter', `label=${label}`)) !== '';
  }

  /** @returns the image's configuration and layers, as the Open Container Initiative writes them down */
  async inspect(tag: string): Promise<OciImage> {
    return JSON.parse(await this.#run('inspect', '--type', 'image', tag)).OCIv1;
  }

  /** Makes a root file system of an image, which can be written to without harm to the image. */
  async open(tag: string): Promise<{ root: string; close(): Promise<void> }> {
    const container = await this.#run('from', '--pull-never', '--signature-policy', this.#policy, tag);
    const root = await this.#run('mount', container);
    return { root, close: async () => void (await this.#run('rm', container)) };
  }

  async #works(): Promise<boolean> {
    return this.#run('info').then(
      () => true,
      () => false,
    );
  }

  async #run(...args: string[]): Promise<string> {
    const store = join(CACHE, `image-store-${this.#driver}`);
    const where = ['--storage-driver', this.#driver, '--root', store, '--runroot', join(store, 'run')];
    try {
      const { stdout } = await exec(this.#command, [...where, ...args], { maxBuffer: OUTPUT_BYTES });
      return stdout.trim();
    } catch (cause) {
      const { stdout, stderr } = cause as { stdout: string; stderr: string };
      throw new Error(`buildah ${args[0]} failed:\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`, {
        cause,
      });
    }
  }
}

export interface OciImage {
  architecture: string;
  config: { User: string; Env: string[]; Entrypoint: string[]; Cmd: string[]; WorkingDir: string };
}

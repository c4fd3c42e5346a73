import { join } from 'node:path';
import { FUNCTIONS } from '../../functions/constants.ts';
import { freePort, ServerProcess } from '../real/servers/process.ts';
import { eventually } from '../real/support/eventually.ts';
import type { OciImage } from './buildah.ts';
import { installEmulator } from './tools.ts';

/** A function's sandbox: the real entry point of an image under Amazon's Runtime Interface Emulator. */
export class Sandbox {
  readonly endpoint: string;
  readonly #process: ServerProcess;

  private constructor(endpoint: string, process: ServerProcess) {
    this.endpoint = endpoint;
    this.#process = process;
  }

  /** The emulator listens when this returns; the function itself starts with the first invocation. */
  static async start(image: OciImage, root: string): Promise<Sandbox> {
    const { User, Env, WorkingDir, Entrypoint, Cmd } = image.config;
    const [port, runtimePort] = [await freePort(), await freePort()];
    const args = [
      ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--'],
      ...['sh', join(import.meta.dirname, 'sandbox.sh'), root, await installEmulator(), User],
      ...['env', '--ignore-environment', `--chdir=${WorkingDir}`, ...Env],
      `AWS_LAMBDA_FUNCTION_MEMORY_SIZE=${FUNCTIONS.embed.memoryMb}`,
      `AWS_LAMBDA_FUNCTION_TIMEOUT=${FUNCTIONS.embed.timeoutSeconds}`,
      '/opt/emulator',
      ...['--runtime-interface-emulator-address', `127.0.0.1:${port}`],
      ...['--runtime-api-address', `127.0.0.1:${runtimePort}`],
      ...Entrypoint,
      ...Cmd,
    ];
    // unshare blocks SIGTERM while it waits, so it must be killed: by us, and by the kernel when we are.
    const running = new ServerProcess('the sandbox', 'setpriv', ['--pdeathsig', 'KILL', '--', ...args], {
      env: { PATH: process.env.PATH! },
    });
    const sandbox = new Sandbox(`http://127.0.0.1:${port}`, running);
    await eventually('the start of the emulator', async () => {
      if (!running.running) throw new Error(`the sandbox ended while it started:\n${running.output}`);
      return fetch(sandbox.endpoint).catch(() => undefined);
    });
    return sandbox;
  }

  /** What the function and the emulator wrote. */
  get output(): string {
    return this.#process.output;
  }

  /** @returns what the function answers, or the error (`errorType`, `errorMessage`) that the emulator tells of */
  async invoke(payload: unknown): Promise<Record<string, unknown>> {
    const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
    const url = `${this.endpoint}/2015-03-31/functions/function/invocations`;
    const text = await (await fetch(url, { method: 'POST', body })).text();
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`the emulator answered ${text.slice(0, 200)}\n${this.output}`);
    }
  }

  async stop(): Promise<void> {
    await this.#process.stop('SIGKILL');
  }
}

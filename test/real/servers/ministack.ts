import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { installMinistack } from './install.ts';
import { freePort, ServerProcess } from './process.ts';

/** S3, SQS, DynamoDB, EventBridge, Lambda and CloudFormation on 127.0.0.1; state lives in memory. */
export class Ministack {
  readonly url: string;
  readonly #process: ServerProcess;
  readonly #folder: string;

  private constructor(url: string, process: ServerProcess, folder: string) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  static async start(): Promise<Ministack> {
    const command = await installMinistack();
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), 'refrain-ministack-'));
    const running = new ServerProcess('ministack', command, [], {
      env: {
        // Zip functions run in the first `node` on the path: this one.
        PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
        HOME: folder,
        TMPDIR: folder,
        BIND_HOST: '127.0.0.1',
        MINISTACK_HOST: '127.0.0.1',
        GATEWAY_PORT: String(port),
        LAMBDA_EXECUTOR: 'local',
        S3_DATA_DIR: join(folder, 's3'),
        STATE_DIR: join(folder, 'state'),
      },
    });
    const server = new Ministack(`http://127.0.0.1:${port}`, running, folder);
    try {
      await running.waitFor(`${server.url}/_ministack/health`, 60_000);
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  get output(): string {
    return this.#process.output;
  }

  async dispose(): Promise<void> {
    await this.#process.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findJava, installElasticMq } from './install.ts';
import { freePort, ServerProcess } from './process.ts';

/** SQS alone, on 127.0.0.1, and with tasks that move dead letters, which ministack does not have. */
export class ElasticMq {
  readonly url: string;
  readonly #process: ServerProcess;
  readonly #folder: string;

  private constructor(url: string, process: ServerProcess, folder: string) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  static async start(): Promise<ElasticMq> {
    const [java, lib] = [await findJava(), await installElasticMq()];
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), 'refrain-elasticmq-'));
    const config = join(folder, 'elasticmq.conf');
    await writeFile(
      config,
      `include classpath("application.conf")
      node-address { protocol = http, host = "127.0.0.1", port = ${port}, context-path = "" }
      rest-sqs { enabled = true, bind-port = ${port}, bind-hostname = "127.0.0.1" }
      rest-stats { enabled = false }`,
    );
    const args = [`-Dconfig.file=${config}`, '-Xmx256m', '-cp', join(lib, '*'), 'org.elasticmq.server.Main'];
    const running = new ServerProcess('ElasticMQ', java, args, { env: {} });
    const server = new ElasticMq(`http://127.0.0.1:${port}`, running, folder);
    try {
      await running.waitFor(`${server.url}/?Action=ListQueues`, 60_000);
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  async dispose(): Promise<void> {
    await this.#process.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, ServerProcess } from './process.ts';

/** How to start a server that listens on `port` of 127.0.0.1 and writes nowhere but in `folder`. */
export interface Command {
  executable: string;
  args: string[];
  env: Record<string, string>;
}

/** A server of one process on a free port, with a folder of its own that goes when the server does. */
export class LocalServer {
  readonly url: string;
  readonly #process: ServerProcess;
  readonly #folder: string;

  private constructor(url: string, process: ServerProcess, folder: string) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  /**
   * @param health the path that answers with success once the server is there
   * @throws when it ends, or does not answer within a minute
   */
  static async start(
    name: string,
    health: string,
    commandFor: (place: { port: number; folder: string }) => Command | Promise<Command>,
  ): Promise<LocalServer> {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), `refrain-${name.toLowerCase()}-`));
    const { executable, args, env } = await commandFor({ port, folder });
    const running = new ServerProcess(name, executable, args, { env });
    const server = new LocalServer(`http://127.0.0.1:${port}`, running, folder);
    try {
      await running.waitFor(server.url + health, 60_000);
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

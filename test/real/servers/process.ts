import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the servers of the last run wrote, and the functions on them: `ministack.log` and the like. Git ignores it. */
export const LOGS = join(import.meta.dirname, '../../../test-logs');

/** A server process that ends with us, even when we are killed. */
export class ServerProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  #output = '';

  constructor(
    name: string,
    command: string,
    args: string[],
    { env, asNobody = false }: { env: Record<string, string>; asNobody?: boolean },
  ) {
    this.#name = name;
    const [executable, ...rest] = [...launcher(asNobody), command, ...args];
    this.#child = spawn(executable!, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    mkdirSync(LOGS, { recursive: true });
    const log = createWriteStream(join(LOGS, `${name.toLowerCase()}.log`), { flags: 'a' });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.pipe(log, { end: false });
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-20_000);
      });
    }
    this.#child.once('error', (error) => {
      this.#output += `\n${error.message}`;
    });
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** setpriv becomes the server, so this is the server's own. */
  get pid(): number {
    return this.#child.pid!;
  }

  /** The last 20,000 characters of what the server wrote. */
  get output(): string {
    return this.#output;
  }

  /** @throws when the server ends, or does not answer `url` with success within the time */
  async waitFor(url: string, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline) {
      if (!this.running) throw new Error(`${this.#name} ended while it started:\n${this.#output}`);
      const response = await fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => undefined);
      await response?.body?.cancel();
      if (response?.ok) return;
      await sleep(100);
    }
    await this.stop();
    throw new Error(`${this.#name} did not answer within ${timeoutMs / 1000} s:\n${this.#output}`);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.running) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(killer);
  }
}

const NOBODY = 65_534;

/**
 * On Linux `setpriv` lets the kernel end the server with us. OpenSearch refuses root: as root, it runs as nobody, who
 * may still read root's cache folder.
 */
function launcher(asNobody: boolean): string[] {
  const root = process.getuid?.() === 0;
  try {
    execFileSync('setpriv', ['--version'], { stdio: 'ignore' });
  } catch {
    if (root && asNobody) throw new Error('as root, the tests need setpriv (apt install util-linux)');
    return [];
  }
  const drop = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  // Without no_setuid_fixup access(2) forgets the capability, and java asks access(2) first.
  const read = [
    '--securebits=+no_setuid_fixup',
    ...['inh', 'ambient'].map((set) => `--${set}-caps=+dac_read_search`),
  ];
  return ['setpriv', '--pdeathsig', 'TERM', ...(root && asNobody ? [...drop, ...read] : []), '--'];
}

/** Who owns the data of a server that runs as nobody; undefined where no change of owner is needed. */
export const nobody = process.getuid?.() === 0 ? NOBODY : undefined;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

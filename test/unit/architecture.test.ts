import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

// The arrows of the house point one way: inwards. What may know what is written down here, and nowhere else.

const ROOT = join(import.meta.dirname, '../..');
const STATEMENT =
  /^(?:import|export)\s(?<names>[^'"]*?\sfrom\s)?\s*['"](?<target>[^'"]+)['"]|\bimport\(\s*['"](?<lazy>[^'"]+)['"]/gms;

interface Import {
  file: string;
  /** A path from the root for files of ours, else the name of a package. */
  target: string;
  typeOnly: boolean;
}

/** Every import of the TypeScript files below a folder; `without` leaves some of them out. */
function importsOf(folder: string, { without = /^$/ }: { without?: RegExp } = {}): Import[] {
  const files = globSync(`${folder}/**/*.ts`, {
    cwd: ROOT,
    exclude: (path) => path.includes('node_modules'),
  });
  expect(files.length, `files in ${folder}`).toBeGreaterThan(0);
  return files
    .filter((file) => !without.test(file))
    .flatMap((file) =>
      [...readFileSync(join(ROOT, file), 'utf8').matchAll(STATEMENT)].map((match) => {
        const specifier = (match.groups?.target ?? match.groups?.lazy)!;
        const target = specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier;
        return { file, target, typeOnly: match.groups?.names?.startsWith('type ') ?? false };
      }),
    );
}

const OURS = /^(functions|local|infra|layers|bench|test|console)\//;

/** Which of the imports are neither of these paths of ours nor of these packages. */
function strangers(imports: readonly Import[], ours: RegExp, packages: RegExp): string[] {
  return imports
    .filter(({ target }) => !(OURS.test(target) ? ours : packages).test(target))
    .map(({ file, target }) => `${file} imports ${target}`);
}

const LAMBDA = /\/lambda\.ts$/;

describe('arrows point inwards', () => {
  test('the core is pure: no SDK, no files, no clock, nothing but itself', () => {
    expect(
      strangers(importsOf('functions/core'), /^functions\/core\//, /^(zod|fft\.js|node:crypto)$/),
    ).toEqual([]);
  });

  test('the core reads neither the time nor the environment', () => {
    const impure = globSync('functions/core/**/*.ts', { cwd: ROOT }).filter((file) =>
      /\bDate\.now\(|new Date\(\)|\bprocess\.|Math\.random\(|\bfetch\(/.test(
        readFileSync(join(ROOT, file), 'utf8'),
      ),
    );

    expect(impure).toEqual([]);
  });

  test('ports are interfaces over types of the core', () => {
    const imports = importsOf('functions/ports');

    expect(strangers(imports, /^functions\/(core|ports)\//, /^$/)).toEqual([]);
    expect(imports.filter(({ typeOnly }) => !typeOnly)).toEqual([]);
  });

  test('steps know core and ports', () => {
    expect(
      strangers(importsOf('functions/steps'), /^functions\/(core|ports|steps)\//, /^(node:|aws-lambda$)/),
    ).toEqual([]);
  });

  test.each(['scan', 'register', 'review', 'embed'])('%s knows no adapter and no SDK', (name) => {
    const own = new RegExp(`^functions/(core|ports|steps|${name})/`);

    expect(
      strangers(
        importsOf(`functions/${name}`, { without: LAMBDA }),
        own,
        /^(zod$|node:|aws-lambda$|onnxruntime-node$)/,
      ),
    ).toEqual([]);
  });

  test('adapters know ports, not handlers; of the embed function they know its protocol and its model folders', () => {
    expect(
      strangers(
        importsOf('functions/adapters'),
        /^functions\/((core|ports|steps|adapters)\/|constants\.ts$|config\.ts$|embed\/(protocol|model-folder)\.ts$)/,
        /./,
      ),
    ).toEqual([]);
  });

  test('what runs in AWS knows nothing of this machine, of the stacks or of benches', () => {
    expect(strangers(importsOf('functions'), /^functions\//, /./)).toEqual([]);
  });

  test('the stacks share names and limits with the functions, and no code', () => {
    expect(strangers(importsOf('infra'), /^(infra|layers)\/|^functions\/constants\.ts$/, /./)).toEqual([]);
  });

  test('the store of this machine does not know who uses it', () => {
    const imports = [...importsOf('local/store'), ...importsOf('local/adapters')];

    expect(strangers(imports, /^(functions\/(core|ports)|local\/(store|adapters))\//, /./)).toEqual([]);
  });
});

test.each([
  ['node-av', /^node-av/, /^functions\/adapters\/media\//],
  ['onnxruntime-node', /^onnxruntime-node$/, /^functions\/embed\//],
  ['the AWS SDK', /^@aws-sdk\/|^@opensearch-project\//, /^functions\/adapters\/aws\//],
  ['usearch and SQLite', /^(usearch|node:sqlite)$/, /^local\/store\//],
])('%s is known in one place', (_, part, place) => {
  const users = [...importsOf('functions'), ...importsOf('local')].filter(({ target }) => part.test(target));

  expect(users.length).toBeGreaterThan(0);
  expect(users.filter(({ file }) => !place.test(file))).toEqual([]);
});

import { execFileSync } from 'node:child_process';

const TASK = 'var/task';
const PACKAGES = `${TASK}/node_modules`;

/** What the image is made of, from the root of its file system; the rest is Debian. */
const PARTS: Record<string, string[]> = {
  Node: ['usr/local/bin/node', 'usr/local/include'],
  npm: ['usr/local/lib/node_modules'],
  'ONNX Runtime': [`${PACKAGES}/onnxruntime-node`, `${PACKAGES}/onnxruntime-common`],
  'runtime interface client': [`${PACKAGES}/aws-lambda-ric`],
  model: [`${TASK}/models`],
  'embed function': [`${TASK}/lambda.mjs`],
};

/** Prints what takes how much of an image. */
export function printContent(root: string): void {
  const rows = Object.entries(PARTS).map(([name, paths]) => [name, megabytesOf(root, paths)] as const);
  const total = megabytesOf(root, ['.']);
  const debian = total - rows.reduce((sum, [, megabytes]) => sum + megabytes, 0);
  print(
    'The embed image',
    [['Debian 12', debian] as const, ...rows, ['total', total] as const].map(([name, megabytes]) => [
      name,
      `${megabytes.toFixed(1)} MB`,
    ]),
  );
}

export function printTimes(times: { coldMs: number[]; warmMs: number[]; minuteMs: number[] }): void {
  print('Under the Runtime Interface Emulator, median', [
    ['cold start, to the first answer', milliseconds(times.coldMs)],
    ['warm call, health probe', milliseconds(times.warmMs)],
    ['warm call, a minute of audio', milliseconds(times.minuteMs)],
  ]);
}

/** Length of the files under some paths, MB (10^6 bytes). */
export function megabytesOf(root: string, paths: string[]): number {
  const output = execFileSync('du', ['--summarize', '--bytes', '--total', '--one-file-system', ...paths], {
    cwd: root,
    encoding: 'utf8',
  });
  return Number(/^(\d+)\ttotal$/m.exec(output)![1]) / 1e6;
}

function milliseconds(samples: number[]): string {
  const median = samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
  return `${median.toFixed(0)} ms`;
}

function print(title: string, rows: string[][]): void {
  const width = Math.max(...rows.map(([name]) => name!.length));
  console.log(`\n${title}`);
  for (const [name, figure] of rows) console.log(`  ${name!.padEnd(width)}  ${figure!.padStart(9)}`);
}

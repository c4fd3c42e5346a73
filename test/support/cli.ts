import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

const BIN = join(import.meta.dirname, '../../local/cli/bin.js');

export interface CliResult {
  /** `null` when a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
  /** The JSON lines of stdout. Throws when there is anything else. */
  lines: () => Record<string, unknown>[];
}

export interface RunningCli {
  process: ChildProcess;
  result: Promise<CliResult>;
  /** Resolves with the text so far as soon as stdout matches. */
  printed: (pattern: RegExp) => Promise<string>;
  /** The same of stderr. */
  noted: (pattern: RegExp) => Promise<string>;
}

export interface CliOptions {
  cwd?: string;
  /** Beside the environment of the test. */
  env?: Record<string, string>;
}

/** Starts the real command line in a process of its own. */
export function startCli(args: readonly string[], { cwd, env: more }: CliOptions = {}): RunningCli {
  const { REFRAIN_STORE: _store, REFRAIN_DEBUG: _debug, FORCE_COLOR: _colour, ...env } = process.env;
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { ...env, ...more },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const onText = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    for (const look of onText) look();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    for (const look of onText) look();
  });
  const result = new Promise<CliResult>((resolve) => {
    child.on('close', (code) => {
      const lines = () =>
        stdout
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line));
      resolve({ code, stdout, stderr, lines });
    });
  });
  const said = (pattern: RegExp, text: () => string) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        if (!pattern.test(text())) return;
        onText.delete(look);
        resolve(text());
      };
      onText.add(look);
      look();
      child.on('close', () => reject(new Error(`ended without saying ${pattern}:\n${stdout}\n${stderr}`)));
    });
  const printed = (pattern: RegExp) => said(pattern, () => stdout);
  const noted = (pattern: RegExp) => said(pattern, () => stderr);
  return { process: child, result, printed, noted };
}

export const runCli = (args: readonly string[], options?: CliOptions): Promise<CliResult> =>
  startCli(args, options).result;

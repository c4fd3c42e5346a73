#!/usr/bin/env node
// Plain JavaScript that any Node from 18 on can read: it finds a Node that can run the rest, which is TypeScript.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;
const isNewEnough = Number(process.versions.node.split('.')[0]) >= NEEDED;

if (isNewEnough) {
  // A third of the time to start: the TypeScript is stripped and compiled once, not at every call.
  module.enableCompileCache();
  const { fitHeapToSound } = await import('./heap.ts');
  fitHeapToSound();
  const { main } = await import('./main.ts');
  process.exitCode = await main(process.argv.slice(2));
} else {
  const node = findNode();
  if (node) {
    runWith(node);
  } else {
    const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
    process.stderr.write(
      `refrain: needs Node ${NEEDED}, and this is Node ${process.versions.node}. ` +
        `Run "npm install" in ${root}, which brings Node ${NEEDED} along for Refrain alone, or install Node ${NEEDED}.\n`,
    );
    process.exitCode = 1;
  }
}

/** The Node that the package `node` brought along. */
function findNode() {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve('node/package.json'));
    return ['bin/node', 'bin/node.exe'].map((file) => join(folder, file)).find(existsSync);
  } catch {
    return undefined;
  }
}

/** @param {string} node */
function runWith(node) {
  const child = spawn(node, [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    // The channel tells the other side when this process is killed: nothing must go on that nobody waits for.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, REFRAIN_SUPERVISED: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`refrain: could not start ${node}: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
    process.exitCode = code ?? 1;
  });
}

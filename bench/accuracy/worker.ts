import { on } from 'node:events';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { Runtime } from '../../local/runtime.ts';
import type { EngineSpec } from './ask.ts';
import { withScratch } from './audio.ts';
import { ChromaprintEngine } from './chromaprint.ts';
import { type Engine, RefrainEngine } from './engine.ts';

// A process of `ask`: gets an engine's spec, then the paths of files one by one, and answers each with what was found.
// It ends when its parent does, however that ends, and takes its copy of the store with it.

process.on('SIGINT', () => {}); // Ctrl-C goes to the parent too

const messages = on(process, 'message', { close: ['disconnect'] });
const { value } = await messages.next();
const [spec] = value as [EngineSpec];
if (spec.name === 'refrain') {
  // A store has one writer.
  await withScratch(async (folder) => {
    const storeDir = join(folder, 'store');
    await cp(spec.storeDir, storeDir, { recursive: true });
    await using engine = new RefrainEngine(await Runtime.open({ storeDir, modelDir: spec.modelDir }));
    await work(engine);
  });
} else {
  await using engine = await ChromaprintEngine.open(spec.catalogue);
  await work(engine);
}

async function work(engine: Engine): Promise<void> {
  for await (const [path] of messages) {
    const findings = await engine.scan(path);
    if (process.connected) process.send!(findings);
  }
}

import { writeSync } from 'node:fs';
import { openStore } from '../../local/adapters/store.ts';
import { aCase, aReference, aScan, segmentVectors } from './fixtures.ts';

// A process that registers and scans without end, made to be killed: `busy-writer.ts FOLDER FIRST`. It starts with item
// number FIRST and writes "<n>\n" to its output once everything of item n was acknowledged by the store.

export const DIMENSION = 32;
export const SEGMENTS = 60;
/** So small that the index is being written much of the time. */
export const LIMITS = { exactRows: 200, shardRows: 900 };

if (import.meta.main) {
  const [folder, first] = [process.argv[2]!, Number(process.argv[3])];
  const store = await openStore(folder, { mode: 'write', limits: LIMITS });
  const catalogue = store.catalogue({ id: 'test-model', dimension: DIMENSION });
  const queue = store.queue('requests');
  writeSync(1, 'open\n');

  for (let n = first; ; n++) {
    await store.references.put(aReference(`song-${n}`, { state: 'registering' }));
    await catalogue.remove(`song-${n}`);
    await catalogue.add(`song-${n}`, segmentVectors(SEGMENTS, DIMENSION, n));
    await store.references.put(aReference(`song-${n}`, { state: 'active' }));

    await store.scans.claim(aScan(`scan-${n}`), 'busy-writer', Date.now(), Date.now() + 60_000);
    for (let window = 0; window < 3; window++) {
      await store.scans.putWindow(`scan-${n}`, window, new Uint8Array(5000).fill(n));
    }
    await store.scans.put(aScan(`scan-${n}`, { state: 'done', verdict: 'flagged' }));
    await store.cases.create(aCase(`case-${n}`));
    await queue.send(`message-${n}`);
    const [message] = await queue.receive({ max: 1, visibilitySeconds: 600 });
    // Every other message is done with; the others come back when the process is gone.
    if (message && n % 2 === 0) {
      // Told beforehand: killed in between, it may be there or not.
      writeSync(1, `deletes ${message.body}\n`);
      await queue.delete(message.receiptHandle);
    }
    writeSync(1, `${n}\n`);
  }
}

import { on } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { CATALOGUE, UNREGISTERED } from './pieces.ts';
import { type Piece, render } from './render.ts';

const PROGRAMME: readonly Piece[] = [...CATALOGUE, UNREGISTERED];

/** Plays all pieces in a thread of its own: while one is being registered, the next is played already. */
export async function* perform(): AsyncGenerator<{ piece: Piece; audio: Float32Array }> {
  const player = new Worker(import.meta.filename);
  try {
    let played = 0;
    for await (const [audio] of on(player, 'message', { close: ['exit'] })) {
      yield { piece: PROGRAMME[played++]!, audio: audio as Float32Array };
    }
  } finally {
    await player.terminate();
  }
}

if (!isMainThread) {
  for (const piece of PROGRAMME) {
    const audio = render(piece);
    parentPort!.postMessage(audio, [audio.buffer as ArrayBuffer]);
  }
}

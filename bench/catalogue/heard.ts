import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import type { SegmentVectors } from '../../functions/core/segments.ts';
import type { PcmBlock } from '../../functions/ports/decoder.ts';
import type { Embedder } from '../../functions/ports/embedder.ts';
import { embedWindow } from '../../functions/steps/embed-window.ts';
import { windowsOf } from '../../functions/steps/windows.ts';
import { run } from '../accuracy/audio.ts';
import { CONDITIONS } from '../accuracy/conditions.ts';
import { drawRecipes, inParallel, type Query, render } from '../accuracy/render.ts';
import type { Protocol } from '../accuracy/split.ts';

/** Excerpts of the catalogue's music with every distortion of the accuracy bench, some of each. */
export async function distortedExcerpts(
  { split, insiders }: Protocol,
  perCondition: number,
  seconds: 10 | 30,
): Promise<Query[]> {
  const recipes = [];
  for (const condition of CONDITIONS) {
    recipes.push(...(await drawRecipes(condition, insiders, perCondition, split)));
  }
  const rendered = await inParallel(recipes, 2, render);
  return rendered.map((queries) => queries.find((query) => query.seconds === seconds)!);
}

/** Embeds files as if they were one, window by window, as a scan does. */
export async function embedFiles(
  paths: readonly string[],
  embedder: Embedder,
  { windowSegments, seconds = Number.POSITIVE_INFINITY }: { windowSegments: number; seconds?: number },
): Promise<SegmentVectors[]> {
  const { sampleRate } = embedder.model;
  async function* blocks(): AsyncGenerator<PcmBlock, void> {
    let startSample = 0;
    for (const path of paths) {
      const raw = ['-f', 'f32le', '-ar', String(sampleRate), '-ac', '1', 'pipe:1'];
      const limit = Number.isFinite(seconds) ? ['-t', String(seconds)] : [];
      const bytes = await run('ffmpeg', ['-v', 'error', '-nostdin', '-i', path, ...limit, ...raw]);
      const pcm = new Float32Array(new Uint8Array(bytes).buffer);
      yield { startSample, pcm };
      startSample += pcm.length;
    }
  }
  const windows: SegmentVectors[] = [];
  for await (const window of windowsOf(blocks(), new SegmentGrid(embedder.model), windowSegments)) {
    windows.push(await embedWindow(window, embedder));
  }
  return windows;
}

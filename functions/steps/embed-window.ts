import { SegmentGrid } from '../core/segment-grid.ts';
import { audibleSegments } from '../core/silence.ts';
import type { SegmentVectors } from '../ports/catalogue.ts';
import type { Embedder } from '../ports/embedder.ts';
import type { PcmWindow } from './windows.ts';

/**
 * Embeds the audible segments of a window, numbered on the global grid.
 * Both sides of a match come through here, so references and uploads are treated alike.
 */
export async function embedWindow(window: PcmWindow, embedder: Embedder): Promise<SegmentVectors> {
  const { model } = embedder;
  const audible = audibleSegments(window.pcm, new SegmentGrid(model), model.energyFloorDbfs);
  if (audible.length === 0) return { segments: new Uint32Array(0), vectors: new Float32Array(0) };

  const all = await embedder.embed(window.pcm);
  const vectors = new Float32Array(audible.length * model.dimension);
  audible.forEach((segment, row) => {
    const start = segment * model.dimension;
    vectors.set(all.subarray(start, start + model.dimension), row * model.dimension);
  });
  return { segments: Uint32Array.from(audible, (segment) => window.firstSegment + segment), vectors };
}

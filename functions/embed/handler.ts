import { z } from 'zod';
import { RefrainError } from '../core/errors.ts';
import type { Embedder } from '../ports/embedder.ts';
import { decodePcm, EmbedRequest, type EmbedResponse, encodeVectors, HealthRequest } from './protocol.ts';

/** PCM in, vectors out: no network, no state. */
export const createEmbedHandler =
  (embedder: Embedder) =>
  async (event: unknown): Promise<EmbedResponse | { status: 'ok'; modelId: string; sha256: string }> => {
    const { id: modelId, sha256, dimension } = embedder.model;
    if (HealthRequest.safeParse(event).success) return { status: 'ok', modelId, sha256 };

    const request = EmbedRequest.safeParse(event);
    if (!request.success) {
      throw new RefrainError('MALFORMED_REQUEST', `not an embed request: ${z.prettifyError(request.error)}`);
    }
    if (request.data.modelId !== modelId) {
      throw new RefrainError(
        'WRONG_MODEL',
        `this function runs ${modelId}, but the caller asked for ${request.data.modelId}: deploy both together`,
      );
    }
    const vectors = await embedder.embed(decodePcm(request.data.pcm));
    return {
      modelId,
      sha256,
      segments: vectors.length / dimension,
      dimension,
      vectors: encodeVectors(vectors),
    };
  };

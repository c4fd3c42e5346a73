import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ModelError } from '../core/errors.ts';
import { ModelManifest } from '../core/model.ts';

export interface ModelFolder {
  manifest: ModelManifest;
  /** The ONNX graph, already checked against the manifest's SHA-256. */
  graph: Uint8Array;
}

/**
 * Reads a model folder (`model.json` and the graph it names) and checks the graph against its SHA-256.
 * @throws ModelError when a file is missing, the manifest is invalid or the graph is not the one it names
 */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  const manifest = await readManifest(folder);
  const path = join(folder, manifest.file);
  const graph = await readFile(path).catch((cause) => {
    throw new ModelError(`cannot read the model graph ${path}: ${(cause as Error).message}`, { cause });
  });
  const sha256 = createHash('sha256').update(graph).digest('hex');
  if (sha256 !== manifest.sha256) {
    throw new ModelError(
      `${path} is not the graph that model.json names: its SHA-256 is ${sha256}, expected ${manifest.sha256}. ` +
        'The file is damaged or was replaced; restore it from the repository or export the model again.',
    );
  }
  return { manifest, graph };
}

/** Reads `model.json` alone: for those who need the grid and the calibration but not the network. */
export async function readManifest(folder: string): Promise<ModelManifest> {
  const path = join(folder, 'model.json');
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new ModelError(`there is no model in ${folder}: ${path} cannot be read (${cause.code})`, { cause });
  });
  try {
    return ModelManifest.parse(JSON.parse(text));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
    throw new ModelError(`${path} is not a model manifest: ${why}`, { cause });
  }
}

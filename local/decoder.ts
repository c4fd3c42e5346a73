import { fileURLToPath } from 'node:url';
import { build, stop } from 'esbuild';
import { MediaDecoder } from '../functions/adapters/media/decoder.ts';

const CHILD = fileURLToPath(new URL('../functions/adapters/media/decode-child.ts', import.meta.url));

/** The decoder of this machine. */
export const localDecoder = async (): Promise<MediaDecoder> => new MediaDecoder({}, await bundledChild());

/**
 * The program of the decoder's processes in one piece, with the little of node-av that it uses. Reading, stripping and
 * compiling the hundred files that it is made of would take each process 0.2 s: as long as a minute of music.
 */
export async function bundledChild(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [CHILD],
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minify: true,
    legalComments: 'none',
    // Where node-av looks for FFmpeg from.
    define: { 'import.meta.url': JSON.stringify(import.meta.resolve('node-av/lib')) },
    logLevel: 'warning',
  });
  await stop();
  return outputFiles[0]!.text;
}

import { afterAll, describe, expect, it } from 'vitest';
import type { EncodeOptions } from '../../functions/adapters/media/encode.ts';
import { audioFile, decodeAll, differenceDb, music, temporaryFolder } from '../support/audio.ts';

const RATE = 16_000;
const folder = temporaryFolder();
afterAll(folder.remove);

const tune = music(60, 44_100);

// A scan that resumes must hear the same as one that never stopped.
describe('decoding from the middle', () => {
  it.each<[string, Omit<EncodeOptions, 'sampleRate'>]>([
    ['mp3', { format: 'mp3', bitRate: 128_000 }],
    ['mp3 without a summary', { format: 'mp3', bitRate: 64_000, muxer: { write_xing: '0' } }],
    ['m4a', { format: 'm4a' }],
    ['ogg', { format: 'ogg' }],
    ['opus', { format: 'opus' }],
    ['mkv', { format: 'mkv', picture: 'video' }],
    ['webm', { format: 'webm' }],
    ['flac', { format: 'flac' }],
    ['wav at 22 kHz', { format: 'wav', fileRate: 22_050 }],
    ['aiff', { format: 'aiff' }],
  ])('%s: yields the same samples as decoding from the start', async (name, options) => {
    // Arrange
    const path = audioFile(folder.file(`${name}.bin`), tune, { sampleRate: 44_100, ...options });
    const whole = await decodeAll(path, { sampleRate: RATE });

    for (const seconds of [0.37, 13.3, 41.777, 59.5]) {
      const startSample = Math.round(seconds * RATE);

      // Act
      const rest = await decodeAll(path, { sampleRate: RATE, startSample });

      // Assert
      expect(rest.startSample).toBe(startSample);
      expect(rest.pcm.length).toBe(whole.pcm.length - startSample);
      // AAC fills its noise bands with other noise each time.
      const tolerance = options.format === 'm4a' ? -40 : -100;
      expect(differenceDb(rest.pcm, whole.pcm.subarray(startSample))).toBeLessThan(tolerance);
      expect(rest.summary).toEqual(whole.summary);
    }
  });

  it('an index makes it quick: the last seconds of an hour come without decoding the hour', async () => {
    const hour = folder.file('hour.wav');
    audioFile(hour, new Float32Array(3600 * 8000), { format: 'wav', sampleRate: 8000 });
    const decoding = async (startSample: number) => {
      const before = performance.now();
      await decodeAll(hour, { sampleRate: 8000, startSample });
      return performance.now() - before;
    };

    const all = await decoding(0);
    const end = await decoding(3590 * 8000);

    expect(end).toBeLessThan(all / 2);
  });
});

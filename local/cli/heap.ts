import { setFlagsFromString } from 'node:v8';

/**
 * What a scan handles lies outside of V8's heap: sound and vectors, 12 MB for each minute of audio. The heap itself is small,
 * and V8's rules for small heaps fit neither way.
 */
export function fitHeapToSound(): void {
  // Young objects may take 134 MB by default, and what they hold outside comes on top. A scan of hours takes half the memory
  // without, and no more time.
  setFlagsFromString('--semi-space-growth-factor=1');
  // All of the heap is collected whenever it and what is outside have grown by a few MB: more than once in a minute of audio.
  // When they may grow to four times their size, a tenth of all processor time is saved, for 30 MB.
  setFlagsFromString('--heap-growing-percent=300');
}

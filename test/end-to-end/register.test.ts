import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MediaDecoder } from '../../functions/adapters/media/decoder.ts';
import { RejectedAudioError } from '../../functions/core/errors.ts';
import type { Reference, ReferenceMetadata } from '../../functions/core/reference.ts';
import { objectCreated, type RegisterRequest } from '../../functions/core/requests.ts';
import { OnnxModel } from '../../functions/embed/onnx-model.ts';
import { systemClock } from '../../functions/ports/clock.ts';
import type { Decoder } from '../../functions/ports/decoder.ts';
import type { Embedder } from '../../functions/ports/embedder.ts';
import type { RegisterDependencies } from '../../functions/register/dependencies.ts';
import { createRegisterHandler } from '../../functions/register/handler.ts';
import { DEFAULT_SCAN_SETTINGS } from '../../functions/scan/dependencies.ts';
import { openStore, type Store } from '../../local/adapters/store.ts';
import { DEFAULT_MODEL } from '../../local/runtime.ts';
import { encodeAudio, music, temporaryFolder } from '../support/audio.ts';
import { delivery } from '../support/delivery.ts';

// The real handler on a real store, decoder and model: what a second registration of the same recording does.

const RATE = 16_000;
const folder = temporaryFolder();
const bucket = 'references';
const at = (name: string) => join(folder.path, bucket, name);

let model: OnnxModel;
let store: Store;
let deps: RegisterDependencies;
/** Windows that went through the model. */
let embedded = 0;
let files = 0;

beforeAll(async () => {
  mkdirSync(join(folder.path, bucket));
  model = await OnnxModel.load(DEFAULT_MODEL);
  store = await openStore(folder.file('store'), {
    mode: 'write',
    buckets: { [bucket]: join(folder.path, bucket) },
  });
  const embedder: Embedder = {
    model: model.model,
    embed: (pcm) => {
      embedded++;
      return model.embed(pcm);
    },
  };
  deps = {
    objects: store.objects,
    decoder: new MediaDecoder(),
    embedder,
    catalogue: store.catalogue(model.model),
    references: store.references,
    events: store.events,
    clock: systemClock,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    settings: DEFAULT_SCAN_SETTINGS,
  };
});
beforeEach(() => {
  embedded = 0;
});
afterAll(async () => {
  await store?.close();
  folder.remove();
});

/** A recording of its own, under a name of its own. */
function recording(seconds = 8): string {
  const key = `song-${++files}.flac`;
  encodeAudio(at(key), [music(seconds, RATE, files)], { format: 'flac', sampleRate: RATE });
  return key;
}

const requestFor = (
  key: string,
  more: { metadata?: ReferenceMetadata; referenceId?: string } = {},
): RegisterRequest => ({
  type: 'refrain.register.v1',
  object: { bucket, key },
  metadata: {},
  ...more,
});

/** Delivers one message and gives back what was registered by it. */
async function register(body: string | RegisterRequest, other: Partial<RegisterDependencies> = {}) {
  const registrations: { reference: Reference; outcome: string; changed: string[] }[] = [];
  const handle = createRegisterHandler(
    { ...deps, ...other },
    { onRegistered: (registration) => registrations.push(registration) },
  );
  const { batchItemFailures } = await handle(
    delivery(typeof body === 'string' ? body : JSON.stringify(body)),
  );
  expect(batchItemFailures).toEqual([]);
  return registrations[0];
}

const referencesOf = async (key: string) => {
  const { items } = await store.references.list({ limit: 1000 });
  return items.filter(({ source }) => source.key === key);
};

it('tells how far it has heard, and never beyond the end', async () => {
  const key = recording(8);
  const heard: number[] = [];
  const handle = createRegisterHandler(deps, { onProgress: ({ heardMs }) => heard.push(heardMs) });

  await handle(delivery(objectCreated({ bucket, key })));

  expect(heard).toHaveLength(1);
  expect(heard[0]).toBeGreaterThan(7000);
  expect(heard[0]).toBeLessThanOrEqual(8000);
});

describe('a recording that was refused', () => {
  /** As after an update of Refrain, or on a machine that had a bad day: the same file, and another decoder. */
  const brokenDecoder: Decoder = {
    open: async () => {
      throw new RejectedAudioError('DECODER_CRASHED', 'the decoder crashed');
    },
  };

  it('gets a second chance, under the name that it had', async () => {
    const key = recording();
    const request = requestFor(key, { referenceId: 'second-chance', metadata: { owner: 'Ada' } });
    const first = await register(request, { decoder: brokenDecoder });

    const second = await register(objectCreated({ bucket, key }));

    expect(first).toMatchObject({
      outcome: 'refused',
      reference: { reasons: [{ code: 'DECODER_CRASHED' }] },
    });
    expect(second).toMatchObject({
      outcome: 'admitted',
      reference: { referenceId: 'second-chance', state: 'active', reasons: [], owner: 'Ada' },
    });
    expect(await referencesOf(key)).toEqual([second!.reference]);
  });

  it('stays one record, and the same one, however often its event is delivered', async () => {
    writeFileSync(at('words.mp3'), 'this is no music');
    const event = objectCreated({ bucket, key: 'words.mp3' });
    const first = await register(event);

    const second = await register(event);

    expect(second).toMatchObject({ outcome: 'refused' });
    expect(second!.reference).toEqual(first!.reference);
    expect(await referencesOf('words.mp3')).toEqual([first!.reference]);
  });
});

describe('a recording that is registered already', () => {
  it('is not embedded again, whatever is told of it now', async () => {
    const key = recording();
    await register(requestFor(key, { metadata: { title: 'Old', artist: 'Ada', owner: 'Label' } }));
    embedded = 0;

    const same = await register(requestFor(key, { metadata: { title: 'Old' } }));
    const other = await register(
      requestFor(key, { metadata: { title: 'New', policy: { rules: [{ when: [], action: 'block' }] } } }),
    );

    expect(embedded).toBe(0);
    expect(same).toMatchObject({ outcome: 'existing', changed: [] });
    expect(other).toMatchObject({ outcome: 'updated', changed: ['title', 'policy'] });
    expect(await referencesOf(key)).toMatchObject([
      {
        title: 'New',
        artist: 'Ada',
        owner: 'Label',
        policy: { rules: [{ when: [], action: 'block' }] },
        state: 'active',
        segments: same!.reference.segments,
      },
    ]);
  });

  it('takes excluded spans from the metadata, in place of those that it had', async () => {
    const key = recording();
    const excluded = [
      { startMs: 3000, endMs: 5000 },
      { startMs: 1000, endMs: 4000 },
    ];
    const first = await register(requestFor(key, { metadata: { excluded } }));

    const silent = await register(requestFor(key, { metadata: { title: 'Named' } }));
    const none = await register(requestFor(key, { metadata: { excluded: [] } }));

    expect(first!.reference.excluded).toEqual([{ startMs: 1000, endMs: 5000 }]);
    expect(silent!.reference.excluded).toEqual([{ startMs: 1000, endMs: 5000 }]);
    expect(none).toMatchObject({ outcome: 'updated', changed: ['excluded'], reference: { excluded: [] } });
  });

  it('stays disabled, and keeps what was excluded, when a new model embeds it again', async () => {
    const key = recording();
    const { reference } = (await register(
      requestFor(key, { metadata: { owner: 'Ada', excluded: [{ startMs: 0, endMs: 1000 }] } }),
    ))!;
    const olderModel = { ...reference.model, sha256: '0'.repeat(64) };
    await store.references.put({ ...reference, state: 'disabled', model: olderModel });
    embedded = 0;

    const again = await register(requestFor(key));

    expect(embedded).toBeGreaterThan(0);
    expect(again!.reference).toEqual({ ...reference, state: 'disabled' });
  });
});

describe('a sidecar', () => {
  it('that comes after its file updates it', async () => {
    const key = recording();
    await register(objectCreated({ bucket, key }));
    embedded = 0;
    writeFileSync(at(`${key}.json`), JSON.stringify({ title: 'Late', owner: 'Label' }));

    const updated = await register(objectCreated({ bucket, key: `${key}.json` }));

    expect(updated).toMatchObject({ outcome: 'updated', changed: ['title', 'owner'] });
    expect(embedded).toBe(0);
    expect(await referencesOf(key)).toMatchObject([{ title: 'Late', owner: 'Label' }]);
  });

  it('that comes before its file waits for it, and is no recording itself', async () => {
    const key = recording();
    const file = at(key);
    writeFileSync(`${file}.json`, JSON.stringify({ title: 'Early' }));
    const moved = folder.file('moved.flac');
    renameSync(file, moved);

    const nothing = await register(objectCreated({ bucket, key: `${key}.json` }));
    renameSync(moved, file);
    const registered = await register(objectCreated({ bucket, key }));

    expect(nothing).toBeUndefined();
    expect(registered).toMatchObject({ outcome: 'admitted', reference: { title: 'Early' } });
  });

  it('that is told while its file is still being embedded is not lost', async () => {
    const key = recording();
    let told: Promise<unknown> | undefined;
    const slow: Embedder = {
      model: model.model,
      embed: async (pcm) => {
        // The sidecar's own event is handled by another instance, from beginning to end.
        told ??= (async () => {
          writeFileSync(at(`${key}.json`), JSON.stringify({ owner: 'Label' }));
          return register(objectCreated({ bucket, key: `${key}.json` }));
        })();
        await told;
        return model.embed(pcm);
      },
    };

    await register(objectCreated({ bucket, key }), { embedder: slow });

    expect(await referencesOf(key)).toMatchObject([{ owner: 'Label', state: 'active' }]);
  });
});

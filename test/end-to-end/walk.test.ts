import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { MediaDecoder } from '../../functions/adapters/media/decoder.ts';
import type { MatchedSpan } from '../../functions/core/alignment/index.ts';
import { Stretch } from '../../functions/core/alignment/other-speeds.ts';
import { calibrationOf } from '../../functions/core/confidence.ts';
import { ObjectNotFoundError } from '../../functions/core/errors.ts';
import { objectCreated } from '../../functions/core/requests.ts';
import type { ObjectVersion } from '../../functions/core/scan.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { quantise } from '../../functions/core/segments.ts';
import { OnnxModel } from '../../functions/embed/onnx-model.ts';
import { systemClock } from '../../functions/ports/clock.ts';
import { createRegisterHandler } from '../../functions/register/handler.ts';
import { compared } from '../../functions/scan/compare.ts';
import {
  DEFAULT_SCAN_SETTINGS,
  type ScanDependencies,
  type ScanSettings,
} from '../../functions/scan/dependencies.ts';
import { createScanHandler } from '../../functions/scan/handler.ts';
import { hearAgain, type Reopen } from '../../functions/scan/hear-again.ts';
import { embedWindow } from '../../functions/steps/embed-window.ts';
import { readStretch } from '../../functions/steps/read-stretch.ts';
import { openStore, type Store } from '../../local/adapters/store.ts';
import { DEFAULT_MODEL } from '../../local/runtime.ts';
import { encodeAudio, hiss, music, seededRandom, temporaryFolder } from '../support/audio.ts';
import { delivery } from '../support/delivery.ts';

// The real handlers on a real store, model, decoder and index: what a queue may do to them, and what must come out.

const RATE = 16_000;
const folder = temporaryFolder();
const uploads = folder.file('uploads');
const log = { debug() {}, info() {}, warn() {}, error() {} };

let model: OnnxModel;
let store: Store;
let deps: ScanDependencies;

const song = music(60, RATE, 1);
const other = music(30, RATE, 2);
const joined = (...parts: Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));

beforeAll(async () => {
  mkdirSync(uploads);
  model = await OnnxModel.load(DEFAULT_MODEL);
  store = await openStore(folder.file('store'), { mode: 'write', buckets: { uploads } });
  deps = {
    objects: store.objects,
    decoder: new MediaDecoder(),
    embedder: model,
    catalogue: store.catalogue(model.model),
    references: store.references,
    scans: store.scans,
    cases: store.cases,
    scanRequests: store.queue('scan-requests'),
    reviewQueue: store.queue('review'),
    events: store.events,
    clock: systemClock,
    log,
    settings: { ...DEFAULT_SCAN_SETTINGS, windowSegments: 20 },
  };
  upload('song.flac', song);
  const registered = await register(objectCreated({ bucket: 'uploads', key: 'song.flac' }));
  expect(registered.batchItemFailures).toEqual([]);
}, 120_000);

afterAll(async () => {
  await store?.close();
  folder.remove();
});

function upload(name: string, pcm: Float32Array, format: 'flac' | 'mp3' = 'flac'): ObjectVersion {
  encodeAudio(join(uploads, name), [pcm], {
    format,
    sampleRate: RATE,
    ...(format === 'mp3' && { bitRate: 64_000 }),
  });
  return { bucket: 'uploads', key: name };
}

/** An invocation that has `checks` looks at the clock left before its time runs short. */
const invocation = (name: string, checks = Number.POSITIVE_INFINITY) => {
  let left = checks;
  return { awsRequestId: name, getRemainingTimeInMillis: () => (left-- > 0 ? 1e9 : 0) };
};

const register = (...bodies: string[]) => createRegisterHandler(deps)(delivery(...bodies));
const scan = (body: string, run = invocation('run'), other: Partial<ScanDependencies> = {}) =>
  createScanHandler({ ...deps, ...other })(delivery(body), run);

async function verdictOn(key: string) {
  const { items } = await store.scans.list({ limit: 1000 });
  const found = items.filter(({ upload: { key: k } }) => k === key);
  expect(found.length, `scans of ${key}`).toBe(1);
  return found[0]!;
}

const reviewsOf = async (key: string) => {
  const messages = await store.queue('review').peek(1000);
  return messages.map(({ body }) => JSON.parse(body)).filter(({ data }) => data.upload.key === key);
};

describe('an upload that holds an excerpt', () => {
  it('is flagged, with the place on both sides, a case and one review message', async () => {
    upload('excerpt.mp3', joined(hiss(12), song.subarray(20 * RATE, 40 * RATE), hiss(8)), 'mp3');

    await scan(objectCreated({ bucket: 'uploads', key: 'excerpt.mp3' }));

    const { verdict, detections } = await verdictOn('excerpt.mp3');
    expect(verdict).toBe('flagged');
    expect(detections.length).toBe(1);
    const [span] = detections[0]!.spans;
    expect(Math.abs(span!.uploadStartMs - 12_000)).toBeLessThan(1000);
    expect(Math.abs(span!.uploadEndMs - 32_000)).toBeLessThan(1000);
    expect(Math.abs(span!.referenceStartMs - 20_000)).toBeLessThan(1000);
    expect(Math.abs(span!.speed - 1)).toBeLessThan(0.02);
    const { items: cases } = await store.cases.list();
    expect(cases.filter(({ upload: { key } }) => key === 'excerpt.mp3').length).toBe(1);
    expect((await reviewsOf('excerpt.mp3')).length).toBe(1);
  });

  it('is found in every window size, and across the borders of windows', async () => {
    const spans = [];
    for (const windowSegments of [7, 120]) {
      const name = `windows-${windowSegments}.flac`;
      upload(name, joined(other, song.subarray(10 * RATE, 30 * RATE)));
      await scan(objectCreated({ bucket: 'uploads', key: name }), invocation('run'), {
        settings: { ...deps.settings, windowSegments },
      });
      spans.push((await verdictOn(name)).detections.flatMap((detection) => detection.spans));
    }
    expect(spans[0]).toEqual(spans[1]);
    expect(spans[0]!.length).toBe(1);
  });
});

describe('music that was sped up', () => {
  const speed = 1.32;
  const fromSeconds = 8;
  beforeAll(() => {
    // Samples at a higher rate than they were taken at.
    const pcm = song.subarray(fromSeconds * RATE, (fromSeconds + 15) * RATE);
    for (const name of ['fast.flac', 'fast-and-gone.flac']) {
      encodeAudio(join(uploads, name), [pcm], { format: 'flac', sampleRate: RATE * speed });
    }
  });

  it('is in doubt until it is heard at its own speed', async () => {
    await scan(objectCreated({ bucket: 'uploads', key: 'fast.flac' }));

    const { verdict, detections } = await verdictOn('fast.flac');
    expect(verdict).toBe('flagged');
    const [span] = detections[0]!.spans;
    expect(Math.abs(span!.speed - speed)).toBeLessThan(0.03);
    expect(Math.abs(span!.referenceStartMs - fromSeconds * 1000)).toBeLessThan(1000);
    expect(Math.abs(span!.uploadEndMs - span!.uploadStartMs - 15_000 / speed)).toBeLessThan(1500);
  });

  it('stays in doubt, with a verdict on the rest, when it is gone by then', async () => {
    let opened = 0;
    const warn = vi.fn();
    const neverSure: ScanDependencies['embedder'] = {
      model: { ...model.model, calibration: { ...model.model.calibration, threshold: 1, doubt: 0 } },
      embed: (pcm) => model.embed(pcm),
    };
    const objects: ScanDependencies['objects'] = {
      describe: (object) => store.objects.describe(object),
      withFile: (object, use) =>
        opened++ === 0
          ? store.objects.withFile(object, use)
          : Promise.reject(new ObjectNotFoundError(object.key)),
    };

    const result = await scan(
      objectCreated({ bucket: 'uploads', key: 'fast-and-gone.flac' }),
      invocation('run'),
      { objects, embedder: neverSure, log: { ...log, warn } },
    );

    expect(result).toEqual({ batchItemFailures: [] });
    expect(opened).toBe(2);
    expect(await verdictOn('fast-and-gone.flac')).toMatchObject({ state: 'done', verdict: 'clear' });
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('heard again'), expect.anything());
  });
});

const nothing = { segments: new Uint32Array(), vectors: new Int8Array() };
const gone = () => () => Promise.reject(new ObjectNotFoundError('the recording'));

describe('a second hearing', () => {
  const speed = 1.3;
  const played = (span: Partial<MatchedSpan>) =>
    ({ features: { cosine: 0.4 }, speed: 1, confidence: 0.5, ...span }) as MatchedSpan;
  let referenceId: string;
  let doubt: MatchedSpan;
  let hear: (spans: MatchedSpan[]) => Promise<MatchedSpan[]>;
  beforeAll(async () => {
    const { items } = await store.references.list();
    referenceId = items[0]!.referenceId;
    doubt = played({
      referenceId,
      uploadStartMs: 14_000,
      uploadEndMs: 19_000,
      referenceStartMs: 23_350,
      referenceEndMs: 28_350,
    });
    const vectors = await deps.catalogue.vectorsOf(referenceId, 0, 1000);
    const fast = join(uploads, 'played.flac');
    const pcm = song.subarray(5 * RATE, 31 * RATE);
    encodeAudio(fast, [pcm], { format: 'flac', sampleRate: RATE * speed });
    hear = (spans) =>
      hearAgain(
        spans,
        nothing,
        20_000,
        new Map([[referenceId, vectors]]),
        {
          upload: (use) => use((fromMs, toMs, rate) => readStretch(deps.decoder, fast, fromMs, toMs, rate)),
          recording: gone,
        },
        deps,
      );
  });

  it('finds more around a doubt than was in doubt', async () => {
    const [found] = (await hear([doubt])).filter((span) => span.confidence !== doubt.confidence);

    expect(found).toMatchObject({ referenceId });
    expect(found!.confidence).toBeGreaterThan(0.9);
    expect(Math.abs(found!.speed - speed)).toBeLessThan(0.05);
    expect(found!.uploadEndMs - found!.uploadStartMs).toBeGreaterThan(10_000);
  });

  it('says nothing about what was sure', async () => {
    const sure = played({ ...doubt, uploadStartMs: 0, uploadEndMs: 14_000, confidence: 0.99 });

    expect(await hear([doubt, sure])).toEqual([sure, doubt]);
  });

  it('reads nothing when nothing is in doubt', async () => {
    const sure = played({ ...doubt, confidence: 0.99 });
    const upload = () => Promise.reject(new Error('read'));

    const settled = await hearAgain(
      [sure],
      nothing,
      20_000,
      new Map([[referenceId, nothing]]),
      { upload, recording: gone },
      deps,
    );
    expect(settled).toEqual([sure]);
  });
});

const opened = (name: string, pcm: Float32Array): Reopen => {
  encodeAudio(join(uploads, name), [pcm], { format: 'flac', sampleRate: RATE });
  return (use) =>
    use((fromMs, toMs, rate) => readStretch(deps.decoder, join(uploads, name), fromMs, toMs, rate));
};

describe('a short upload in which nothing is sure', () => {
  it('is heard once more, half a hop later', async () => {
    const { items } = await store.references.list();
    const { referenceId } = items[0]!;
    const stored = new Map([[referenceId, await deps.catalogue.vectorsOf(referenceId, 0, 1000)]]);
    const excerpt = opened('half-a-hop-off.flac', song.subarray(20.25 * RATE, 28.25 * RATE));
    const sources = { upload: excerpt, recording: gone };

    const [found, ...others] = await hearAgain([], nothing, 8000, stored, sources, deps);

    expect(others).toEqual([]);
    expect(found).toMatchObject({ referenceId });
    expect(found!.confidence).toBeGreaterThan(0.9);
    expect(Math.abs(found!.referenceStartMs - found!.uploadStartMs - 20_250)).toBeLessThan(100);
  });
});

const CLEAR = {
  score: 20,
  field: 0,
  contrast: 3,
  cosine: 0.9,
  lead: 0.3,
  ahead: 3,
  seconds: 4,
  explained: 1,
  speed: 1,
  links: 0,
};

describe('a short match of a loop', () => {
  const loop = music(8, RATE, 21);
  const melodic = (seed: number) => {
    const melody = music(8, RATE, seed);
    return loop.map((x, i) => x + 0.2 * melody[i]!);
  };
  const [first, second] = [melodic(22), melodic(24)];
  const recording = joined(first, music(9, RATE, 23), second);
  const vectorsOf = async (pcm: Float32Array) => {
    const grid = new SegmentGrid(model.model);
    const whole = pcm.subarray(0, grid.samplesFor(grid.segmentsIn(pcm.length)));
    const { segments, vectors } = await embedWindow(
      { index: 0, firstSegment: 0, pcm: whole, undecodable: [] },
      model,
    );
    return { segments, vectors: quantise(vectors) };
  };
  const upload = second.subarray(RATE, 7 * RATE);
  /** All of the upload, at a place of the recording. */
  const matchAt = (referenceStartMs: number): MatchedSpan => ({
    referenceId: 'loop',
    uploadStartMs: 0,
    uploadEndMs: 6000,
    referenceStartMs,
    referenceEndMs: referenceStartMs + 6000,
    speed: 1,
    confidence: 0.99,
    features: CLEAR,
  });
  const settle = async (...spans: MatchedSpan[]) => {
    const stored = new Map([['loop', await vectorsOf(recording)]]);
    const recorded = opened('loop.flac', recording);
    const sources = { upload: opened('of-a-loop.flac', upload), recording: () => recorded };
    return hearAgain(spans, await vectorsOf(upload), 6000, stored, sources, deps);
  };

  it('is told from its repeats by the recording', async () => {
    const settled = await settle(matchAt(1000));

    expect(settled.length).toBe(1);
    expect(Math.abs(settled[0]!.referenceStartMs - 18_000)).toBeLessThan(10);
    expect(settled[0]).toMatchObject({ uploadStartMs: 0, speed: 1 });
  });

  it('is told once, if its right place was known as well', async () => {
    const settled = await settle(matchAt(1000), matchAt(18_000));

    expect(settled.length).toBe(1);
    expect(Math.abs(settled[0]!.referenceStartMs - 18_000)).toBeLessThan(10);
  });
});

describe('one beat of the recording in other music', () => {
  it.each([
    ['a match', 1, 0, 6000],
    ['a match that is hardly longer than the beat', 0.4, 2800, 4400],
  ])('does not move %s to where the beat is', async (_, seconds, fromMs, toMs) => {
    const recording = joined(music(8, RATE, 31), music(8, RATE, 32));
    const upload = music(6, RATE, 33);
    // So much of it is the recording's.
    upload.set(recording.subarray(11 * RATE, (11 + seconds) * RATE), 3 * RATE);
    const span: MatchedSpan = {
      referenceId: 'beat',
      uploadStartMs: fromMs,
      uploadEndMs: toMs,
      referenceStartMs: fromMs + 8000,
      referenceEndMs: toMs + 8000,
      speed: 1,
      confidence: 0.02,
      features: CLEAR,
    };
    const recorded = opened('beat.flac', recording);
    const heard = await opened(
      'with-a-beat.flac',
      upload,
    )((read) => read(0, 6000, Stretch.OVERSAMPLING * RATE));
    const stretch = new Stretch(0, heard, new SegmentGrid(model.model));

    expect(await compared(span, [8000], stretch, recorded, calibrationOf(model.model))).toBeUndefined();
  });
});

describe('music below noise', () => {
  const fromSeconds = 30;
  /** Music, and noise that is three times as loud: no segment is like the recording's. */
  const drowned = (pcm: Float32Array) => {
    const random = seededRandom(11);
    const loudness = Math.sqrt(pcm.reduce((sum, x) => sum + x * x, 0) / pcm.length);
    return pcm.map((x) => 0.2 * (x + 3 * Math.sqrt(12) * loudness * (random() - 0.5)));
  };
  /** Whatever could be a match is in doubt. */
  const doubting: ScanDependencies['embedder'] = {
    get model() {
      return { ...model.model, calibration: { ...model.model.calibration, doubt: 0 } };
    },
    embed: (pcm) => model.embed(pcm),
  };

  it('is found by comparing it with the recording', async () => {
    upload('drowned.flac', drowned(song.subarray(fromSeconds * RATE, (fromSeconds + 12) * RATE)));

    await scan(objectCreated({ bucket: 'uploads', key: 'drowned.flac' }), invocation('run'), {
      embedder: doubting,
    });

    const { verdict, detections } = await verdictOn('drowned.flac');
    expect(verdict).toBe('flagged');
    const [span] = detections[0]!.spans;
    expect(span).toMatchObject({ uploadStartMs: 0, speed: 1 });
    expect(Math.abs(span!.uploadEndMs - 12_000)).toBeLessThan(100);
    expect(Math.abs(span!.referenceStartMs - fromSeconds * 1000)).toBeLessThan(10);
  });

  it('is not found when the recording is not there any more', async () => {
    upload('drowned-and-gone.flac', drowned(song.subarray(fromSeconds * RATE, (fromSeconds + 12) * RATE)));
    const objects: ScanDependencies['objects'] = {
      describe: (object) => store.objects.describe(object),
      withFile: (object, use) =>
        object.key === 'song.flac'
          ? Promise.reject(new ObjectNotFoundError(object.key))
          : store.objects.withFile(object, use),
    };

    const result = await scan(
      objectCreated({ bucket: 'uploads', key: 'drowned-and-gone.flac' }),
      invocation('run'),
      { embedder: doubting, objects },
    );

    expect(result).toEqual({ batchItemFailures: [] });
    expect(await verdictOn('drowned-and-gone.flac')).toMatchObject({ verdict: 'clear', detections: [] });
  });

  it('is compared by the next run when time is short, but not with what was disabled meanwhile', async () => {
    for (const state of ['active', 'disabled'] as const) {
      const key = `drowned-late-${state}.flac`;
      upload(key, drowned(song.subarray(fromSeconds * RATE, (fromSeconds + 20) * RATE)));
      const body = objectCreated({ bucket: 'uploads', key });
      const windows = Math.ceil((20 * 2 - 4) / deps.settings.windowSegments);
      const queue = store.queue('scan-requests');

      await scan(body, invocation('late', windows + 1), { embedder: doubting });
      expect((await verdictOn(key)).state).toBe('scanning');
      const {
        items: [reference],
      } = await store.references.list();
      await store.references.put({ ...reference!, state });
      const [again] = await queue.receive();
      // With no time at all: if it looked for matches once more, it would hand over as well.
      const result = await scan(again!.body, invocation('next', 0), { embedder: doubting });
      await queue.delete(again!.receiptHandle);
      await store.references.put(reference!);

      expect(result).toEqual({ batchItemFailures: [] });
      expect(await verdictOn(key)).toMatchObject({ verdict: state === 'active' ? 'flagged' : 'clear' });
    }
  });

  it('is not taken for another recording', async () => {
    upload('drowned-other.flac', drowned(other.subarray(0, 12 * RATE)));

    await scan(objectCreated({ bucket: 'uploads', key: 'drowned-other.flac' }), invocation('run'), {
      embedder: doubting,
    });

    expect(await verdictOn('drowned-other.flac')).toMatchObject({ verdict: 'clear', detections: [] });
  });
});

describe('an upload that holds nothing of the catalogue', () => {
  it('is clear, and nobody is asked to look', async () => {
    upload('clean.flac', music(40, RATE, 99));
    await scan(objectCreated({ bucket: 'uploads', key: 'clean.flac' }));
    expect(await verdictOn('clean.flac')).toMatchObject({ verdict: 'clear', detections: [] });
    expect(await reviewsOf('clean.flac')).toEqual([]);
  });

  it('is told of as it is heard, and never beyond its end', async () => {
    upload('progress.flac', music(25, RATE, 98));
    const body = objectCreated({ bucket: 'uploads', key: 'progress.flac' });
    const heard: number[] = [];
    const handle = createScanHandler(deps, { onProgress: ({ heardMs }) => heard.push(heardMs) });

    await handle(delivery(body), invocation('run'));

    expect(heard.length).toBeGreaterThan(1);
    expect(Math.max(...heard)).toBeGreaterThan(24_000);
    expect(Math.max(...heard)).toBeLessThanOrEqual(25_000);
  });
});

describe('events', () => {
  it('that come twice lead to one scan, one case and one verdict', async () => {
    upload('twice.flac', song.subarray(5 * RATE, 25 * RATE));
    const { etag } = await store.objects.describe({ bucket: 'uploads', key: 'twice.flac' });
    const body = objectCreated({ bucket: 'uploads', key: 'twice.flac', etag });
    await scan(body);
    const first = await verdictOn('twice.flac');
    await scan(body);
    await Promise.all([scan(body, invocation('a')), scan(body, invocation('b'))]);

    expect(await verdictOn('twice.flac')).toEqual(first);
    expect((await reviewsOf('twice.flac')).length).toBe(1);
    const { items: cases } = await store.cases.list();
    expect(cases.filter(({ upload: { key } }) => key === 'twice.flac').length).toBe(1);
  });

  it('for a version that was replaced do not speak of the new one', async () => {
    const old = upload('replaced.flac', song.subarray(0, 20 * RATE));
    const described = await store.objects.describe(old);
    upload('replaced.flac', music(25, RATE, 55));
    // The older event arrives last, as queues may have it.
    await scan(objectCreated(await store.objects.describe(old)));
    await scan(objectCreated(described));

    const { items } = await store.scans.list({ limit: 1000 });
    const scans = items.filter(({ upload: { key } }) => key === 'replaced.flac');
    expect(scans.map(({ verdict, reason }) => [verdict, reason?.code]).toSorted()).toEqual([
      ['clear', undefined],
      ['rejected', 'OBJECT_NOT_FOUND'],
    ]);
  });

  it('for an object that is gone end in a rejection that says so', async () => {
    const gone = upload('gone.flac', song.subarray(0, 20 * RATE));
    const body = objectCreated(await store.objects.describe(gone));
    rmSync(join(uploads, 'gone.flac'));
    expect(await scan(body)).toEqual({ batchItemFailures: [] });
    expect(await verdictOn('gone.flac')).toMatchObject({
      verdict: 'rejected',
      reason: { code: 'OBJECT_NOT_FOUND' },
    });
  });

  it('that only say hello ask for nothing', async () => {
    const before = (await store.scans.list({ limit: 1000 })).items.length;
    expect(await scan(JSON.stringify({ Event: 's3:TestEvent' }))).toEqual({ batchItemFailures: [] });
    expect((await store.scans.list({ limit: 1000 })).items.length).toBe(before);
  });

  it('that are malformed fail alone', async () => {
    upload('beside.flac', music(20, RATE, 70));
    const good = objectCreated({ bucket: 'uploads', key: 'beside.flac' });
    const result = await createScanHandler(deps)(delivery('{"Records":', good, '[]'), invocation('run'));
    expect(result.batchItemFailures).toEqual([{ itemIdentifier: 'm0' }, { itemIdentifier: 'm2' }]);
    expect(await verdictOn('beside.flac')).toMatchObject({ verdict: 'clear' });
  });
});

describe('a run that ends early', () => {
  it('hands over to the next one, which does not start from the beginning', async () => {
    upload(
      'long.flac',
      joined(music(40, RATE, 31), song.subarray(30 * RATE, 50 * RATE), music(20, RATE, 32)),
    );
    const body = objectCreated({ bucket: 'uploads', key: 'long.flac' });
    let embedded = 0;
    const embedder = {
      // Without doubts, nothing is heard twice.
      model: { ...model.model, calibration: { ...model.model.calibration, doubt: 1 } },
      embed: (pcm: Float32Array) => {
        embedded++;
        return model.embed(pcm);
      },
    };
    const queue = store.queue('scan-requests');

    await scan(body, invocation('first', 3), { embedder });
    expect((await verdictOn('long.flac')).state).toBe('scanning');
    const [again] = await queue.receive();
    await scan(again!.body, invocation('second'), { embedder });
    await queue.delete(again!.receiptHandle);

    expect(await verdictOn('long.flac')).toMatchObject({ state: 'done', verdict: 'flagged' });
    expect(embedded).toBe(Math.ceil((80 * 2 - 4) / deps.settings.windowSegments));
  });

  it('hears a window however short its time is, so that a row of such runs comes to an end', async () => {
    upload('hasty.flac', song.subarray(0, 25 * RATE));
    const body = objectCreated({ bucket: 'uploads', key: 'hasty.flac' });
    const windows = Math.ceil((25 * 2 - 4) / deps.settings.windowSegments);
    const queue = store.queue('scan-requests');

    await scan(body, invocation('hasty-0', 0));
    for (let run = 1; run <= windows + 1; run++) {
      expect((await verdictOn('hasty.flac')).state).toBe('scanning');
      const [again] = await queue.receive();
      await scan(again!.body, invocation(`hasty-${run}`, 0));
      await queue.delete(again!.receiptHandle);
    }

    // The last but one found everything heard, and looked for matches; the last one heard what was in doubt again.
    expect(await verdictOn('hasty.flac')).toMatchObject({ state: 'done', verdict: 'flagged' });
    expect(await queue.receive()).toEqual([]);
  });

  it('after all was heard hands over to one that needs not listen', async () => {
    upload('heard.flac', song.subarray(20 * RATE, 45 * RATE));
    const body = objectCreated({ bucket: 'uploads', key: 'heard.flac' });
    vi.spyOn(deps.references, 'getMany').mockRejectedValueOnce(new Error('the process was killed here'));
    const failed = await scan(body, invocation('killed'));
    expect(failed.batchItemFailures.length).toBe(1);

    const open = async () => Promise.reject(new Error('this was heard before'));
    await scan(body, invocation('next'), { decoder: { open } });

    expect(await verdictOn('heard.flac')).toMatchObject({ verdict: 'flagged', durationMs: 25_000 });
  });

  it('between the verdict and its announcement is announced by the next one', async () => {
    upload('untold.flac', song.subarray(20 * RATE, 45 * RATE));
    const body = objectCreated({ bucket: 'uploads', key: 'untold.flac' });
    const reviewQueue = {
      send: async () => {
        throw new Error('the process was killed here');
      },
    };
    const failed = await scan(body, invocation('killed'), { reviewQueue });
    expect(failed.batchItemFailures.length).toBe(1);
    expect(await reviewsOf('untold.flac')).toEqual([]);

    await scan(body, invocation('next'));
    expect(await verdictOn('untold.flac')).toMatchObject({ verdict: 'flagged', announced: true });
    expect((await reviewsOf('untold.flac')).length).toBe(1);
  });

  it('while another is at the scan gives the message back for later', async () => {
    upload('contended.flac', music(30, RATE, 41));
    const described = await store.objects.describe({ bucket: 'uploads', key: 'contended.flac' });
    const body = objectCreated(described);
    let release = () => {};
    const waiting = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = {
      model: model.model,
      embed: (pcm: Float32Array) => waiting.then(() => model.embed(pcm)),
    };

    const first = scan(body, invocation('slow'), { embedder: slow });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await scan(body, invocation('eager'))).toEqual({ batchItemFailures: [] });
    const { delayed } = await store.queue('scan-requests').stats();
    release();
    await first;

    expect(delayed).toBe(1);
    expect(await verdictOn('contended.flac')).toMatchObject({ verdict: 'clear' });
  });
});

describe('registration', () => {
  it('of the same content twice gives one reference', async () => {
    copyFileSync(join(uploads, 'song.flac'), join(uploads, 'same-song.flac'));
    const before = (await store.references.list()).items.length;
    await register(objectCreated({ bucket: 'uploads', key: 'same-song.flac' }));
    expect((await store.references.list()).items.length).toBe(before);
  });

  it('refuses what could not be found again, with the reason', async () => {
    upload('blip.flac', music(3, RATE, 60));
    upload('hush.flac', new Float32Array(20 * RATE));
    writeFileSync(join(uploads, 'words.mp3'), 'this is no music');
    const keys = ['blip.flac', 'hush.flac', 'words.mp3'];
    const result = await register(...keys.map((key) => objectCreated({ bucket: 'uploads', key })));

    expect(result.batchItemFailures).toEqual([]);
    const { items } = await store.references.list();
    const codes = keys.map((key) => {
      const { state, reasons } = items.find(({ source }) => source.key === key)!;
      return [state, reasons[0]?.code];
    });
    expect(codes).toEqual([
      ['refused', 'TOO_SHORT'],
      ['refused', 'SILENT'],
      ['refused', 'NOT_MEDIA'],
    ]);
  });

  it('reads what a sidecar says, and does not register the sidecar', async () => {
    upload('with-sidecar.flac', music(20, RATE, 61));
    const sidecar = { id: 'mine-1', title: 'Mine', owner: 'Me', isrc: 'GB-AYE-68-00123' };
    writeFileSync(join(uploads, 'with-sidecar.flac.json'), JSON.stringify(sidecar));
    const keys = ['with-sidecar.flac.json', 'with-sidecar.flac'];
    await register(...keys.map((key) => objectCreated({ bucket: 'uploads', key })));
    expect(await store.references.get('mine-1')).toMatchObject({
      title: 'Mine',
      owner: 'Me',
      isrc: 'GBAYE6800123',
    });
  });

  it('lets an owner decide what a match leads to', async () => {
    await store.references.putOwnerPolicy('Me', { rules: [{ when: [], action: 'block' }] });
    copyFileSync(join(uploads, 'with-sidecar.flac'), join(uploads, 'blocked.flac'));
    await scan(objectCreated({ bucket: 'uploads', key: 'blocked.flac' }));
    const { detections } = await verdictOn('blocked.flac');
    expect(detections).toMatchObject([{ referenceId: 'mine-1', action: 'block' }]);
  });

  it('of a disabled reference no longer counts', async () => {
    const reference = (await store.references.get('mine-1'))!;
    await store.references.put({ ...reference, state: 'disabled' });
    copyFileSync(join(uploads, 'with-sidecar.flac'), join(uploads, 'disabled.flac'));
    await scan(objectCreated({ bucket: 'uploads', key: 'disabled.flac' }));
    expect(await verdictOn('disabled.flac')).toMatchObject({ verdict: 'clear' });
  });
});

describe('a model folder', () => {
  it('with one flipped byte is refused, and says which file', async () => {
    const damaged = folder.file('model');
    await cp(DEFAULT_MODEL, damaged, { recursive: true });
    const graph = await readFile(join(damaged, 'model.onnx'));
    graph[Math.floor(graph.length / 2)]! ^= 1;
    await writeFile(join(damaged, 'model.onnx'), graph);
    await expect(OnnxModel.load(damaged)).rejects.toThrow(
      /model\.onnx is not the graph that model\.json names/,
    );
  });

  it('without its graph, or with a broken manifest, is refused in plain words', async () => {
    const missing = folder.file('missing');
    await cp(DEFAULT_MODEL, missing, { recursive: true });
    rmSync(join(missing, 'model.onnx'));
    await expect(OnnxModel.load(missing)).rejects.toThrow('cannot read the model graph');
    writeFileSync(join(missing, 'model.json'), '{"id": 1}');
    await expect(OnnxModel.load(missing)).rejects.toThrow(/is not a model manifest/);
    await expect(OnnxModel.load(folder.file('nowhere'))).rejects.toThrow(/nowhere/);
  });
});

describe('of an upload that clearly is in the catalogue', () => {
  const segments = () => new SegmentGrid(model.model).segmentsIn(song.length);
  const asked = async (name: string, settings: Partial<ScanSettings>) => {
    upload(name, song);
    const search = vi.spyOn(deps.catalogue, 'search');
    await scan(objectCreated({ bucket: 'uploads', key: name }), invocation('run'), {
      settings: { ...DEFAULT_SCAN_SETTINGS, ...settings },
    });
    const rows = search.mock.calls.map(([queries]) => queries.length / model.model.dimension);
    search.mockRestore();
    return rows;
  };

  it('less than a third is asked, and all of it is found', async () => {
    const [rows, ...more] = await asked('sparing.flac', { strideFrom: 0 });

    expect(more).toEqual([]);
    expect(rows).toBeLessThan(segments() / 3);
    const { detections } = await verdictOn('sparing.flac');
    expect(detections[0]!.coverage.upload).toBeGreaterThan(0.95);
  });

  it('everything is asked while the catalogue is small', async () => {
    expect(await asked('small-catalogue.flac', {})).toEqual([segments()]);
  });
});

import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { openStore } from '../../local/adapters/store.ts';
import { audioFile, hiss, music, temporaryFolder } from '../support/audio.ts';
import { type CliResult, runCli, startCli } from '../support/cli.ts';

// The command line as a user meets it: the real bin, in a process of its own, with the real decoder and model.

const RATE = 16_000;
/** Each command is a process, on a machine that may be busy with other things. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder.path, ...parts);
const store = at('store');
const refrain = (...args: string[]): Promise<CliResult> => runCli([...args, '--store', store]);

/** The recordings; `night` is the one that uploads copy. */
const recordings = { night: music(40, RATE, 1), day: music(30, RATE, 2), rain: music(30, RATE, 3) };
const ODD_NAME = 'my "up"\nload \u001b[31m🎉.mp3';
let registered: CliResult;

function joined(...parts: Float32Array[]): Float32Array {
  return new Float32Array(parts.flatMap((part) => Array.from(part)));
}

beforeAll(async () => {
  mkdirSync(at('masters/more'), { recursive: true });
  mkdirSync(at('uploads'));
  audioFile(at('masters/night.flac'), recordings.night, { format: 'flac', sampleRate: RATE });
  audioFile(at('masters/more/day.wav'), recordings.day, { format: 'wav', sampleRate: RATE });
  audioFile(at('masters/rain.ogg'), recordings.rain, {
    format: 'ogg',
    sampleRate: RATE,
    tags: { title: 'Rain from Tags', artist: 'Tagger' },
  });
  audioFile(at('masters/silence.wav'), new Float32Array(10 * RATE), { format: 'wav', sampleRate: RATE });
  writeFileSync(at('masters/cover.jpg'), 'not audio');
  writeFileSync(
    at('masters.csv'),
    'file,id,title,artist,isrc,owner,policy\n' +
      'masters/night.flac,night-1,Night Song,Ada,GB-AYE-68-00123,Night Label,\n' +
      'day.wav,,Day Song,Ada,,,track\n',
  );

  const other = hiss(15);
  const copied = joined(other, recordings.night.subarray(10 * RATE, 30 * RATE), other);
  audioFile(at('uploads/copied.mp3'), copied, { format: 'mp3', sampleRate: RATE, bitRate: 64_000 });
  audioFile(at('uploads', ODD_NAME), music(20, RATE, 11), { format: 'mp3', sampleRate: RATE });

  registered = await refrain(
    'register',
    at('masters'),
    '--metadata',
    at('masters.csv'),
    '--owner',
    'Nobody',
    '--jsonl',
  );
});
afterAll(() => folder.remove());

describe('register', () => {
  test('admits what can be found again, refuses the rest with a reason, and says so for each file', () => {
    const outcomes = Object.fromEntries(
      registered.lines().map(({ path, outcome }) => [String(path).slice(folder.path.length + 1), outcome]),
    );

    expect(outcomes).toEqual({
      'masters/more/day.wav': 'admitted',
      'masters/night.flac': 'admitted',
      'masters/rain.ogg': 'admitted',
      'masters/silence.wav': 'refused',
    });
    expect(registered.code).toBe(1);
    expect(registered.lines().map(({ state }) => state)).toEqual(['active', 'active', 'active', 'refused']);
    expect(registered.lines().find(({ outcome }) => outcome === 'refused')).toMatchObject({
      reasons: [{ code: 'SILENT' }],
      segments: 0,
    });
    expect(registered.stderr).toContain('left out');
  });

  test('takes metadata first, then tags, then the common owner', async () => {
    const references = (await refrain('references', '--jsonl')).lines();

    expect(references.find(({ referenceId }) => referenceId === 'night-1')).toMatchObject({
      title: 'Night Song',
      artist: 'Ada',
      isrc: 'GBAYE6800123',
      owner: 'Night Label',
      state: 'active',
    });
    expect(references.find(({ title }) => title === 'Rain from Tags')).toMatchObject({
      artist: 'Tagger',
      owner: 'Nobody',
    });
    expect(references.find(({ title }) => title === 'Day Song')).toMatchObject({
      policy: { rules: [{ when: [], action: 'track' }] },
    });
  });

  test('does not register the same recording twice, under whatever name it comes', async () => {
    copyFileSync(at('masters/rain.ogg'), at('copy-of-rain.ogg'));

    const { code, stdout } = await refrain('register', at('copy-of-rain.ogg'));

    expect(stdout).toContain('already there');
    expect(code).toBe(0);
    expect((await refrain('references', '--jsonl')).lines()).toHaveLength(4);
  });

  test('brings what is said of a recording up to date, and says what was new', async () => {
    const own = at('updated-store');
    const register = (csv: string, ...more: string[]) => {
      writeFileSync(at('more.csv'), csv);
      return runCli([
        'register',
        at('masters/rain.ogg'),
        '--metadata',
        at('more.csv'),
        '--store',
        own,
        ...more,
      ]);
    };
    await register('path,owner\nrain.ogg,Label\n');

    const people = await register('path,owner,excluded\nrain.ogg,Other Label,0:05-0:10\n');
    const machines = await register('path,policy\nrain.ogg,block\n', '--jsonl');
    const nothing = await register('path,policy\nrain.ogg,block\n', '--jsonl');

    expect(people.code).toBe(0);
    expect(people.stdout).toMatch(/↻ updated .*rain\.ogg .*new: owner, excluded/);
    expect(machines.lines()).toMatchObject([
      { outcome: 'updated', changed: ['policy'], owner: 'Other Label' },
    ]);
    expect(nothing.lines()).toMatchObject([{ outcome: 'existing' }]);
    expect((await runCli(['references', '--store', own, '--jsonl'])).lines()).toMatchObject([
      {
        owner: 'Other Label',
        title: 'Rain from Tags',
        policy: { rules: [{ action: 'block' }] },
        excluded: [{ startMs: 5000, endMs: 10_000 }],
      },
    ]);
  });

  test('what a killed run left in the queue is admitted by the next one, and told as such', async () => {
    const own = at('left-over-store');
    const object = { bucket: 'files', key: at('masters/rain.ogg') };
    {
      await using killed = await openStore(own, { mode: 'write' });
      const request = { type: 'refrain.register.v1', object, metadata: { owner: 'Earlier' } };
      await killed.queue('register-requests').send(JSON.stringify(request));
    }

    const { lines } = await runCli(['register', object.key, '--owner', 'Label', '--store', own, '--jsonl']);

    expect(lines()).toMatchObject([{ outcome: 'admitted', owner: 'Label' }]);
  });

  test('a file that describes a recording is none', async () => {
    writeFileSync(at('rain.ogg.json'), '{}');

    const { code, lines } = await refrain('register', at('rain.ogg.json'), '--jsonl');

    expect(code).toBe(1);
    expect(lines()).toMatchObject([{ outcome: 'failed', reasons: [{ code: 'NOT_MEDIA' }] }]);
  });

  test.each([
    [
      'a row that matches no file',
      'path\nnight.flac\ngone.flac\n',
      /row 3, column "path": "gone\.flac" is none of/,
    ],
    ['a bad ISRC', 'path,isrc\nnight.flac,XX\n', /row 2, column "isrc": "XX": an ISRC looks like/],
    [
      'an id twice',
      'path,id\nnight.flac,a\nrain.ogg,a\n',
      /row 3, column "id": "a" is the id of row 2 already/,
    ],
  ])('refuses metadata with %s before any work starts', async (_, csv, message) => {
    writeFileSync(at('bad.csv'), csv);

    const { code, stdout, stderr } = await runCli([
      'register',
      at('masters'),
      '--metadata',
      at('bad.csv'),
      '--store',
      at('untouched'),
    ]);

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect((await runCli(['references', '--store', at('untouched')])).stderr).toContain('There is no store');
  });

  test('takes an id for one file only', async () => {
    const { code, stderr } = await refrain('register', at('masters'), '--id', 'x');

    expect(code).toBe(2);
    expect(stderr).toContain('there are 4 files');
  });
});

/** The line that pipelines read, field by field. */
const ScanLine = z.strictObject({
  path: z.string(),
  scanId: z.string().nullable(),
  verdict: z.enum(['clear', 'flagged', 'rejected', 'incomplete']),
  reason: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  durationMs: z.number(),
  searchedMs: z.number(),
  unsearched: z
    .array(
      z.strictObject({ startMs: z.number(), endMs: z.number(), why: z.enum(['silence', 'undecodable']) }),
    )
    .optional(),
  model: z.string().nullable(),
  detections: z.array(
    z.strictObject({
      referenceId: z.string(),
      title: z.string().optional(),
      artist: z.string().optional(),
      path: z.string(),
      confidence: z.number().min(0).max(1),
      action: z.enum(['block', 'review', 'monetise', 'track', 'allow']),
      coverage: z.strictObject({ upload: z.number(), reference: z.number() }),
      spans: z.array(
        z.strictObject({
          uploadStartMs: z.int(),
          uploadEndMs: z.int(),
          referenceStartMs: z.int(),
          referenceEndMs: z.int(),
          speed: z.number(),
          confidence: z.number(),
        }),
      ),
    }),
  ),
});

describe('scan', () => {
  test('finds what was copied, where it lies on both sides, and exits with 3', async () => {
    const { code, lines, stderr } = await refrain('scan', at('uploads/copied.mp3'), '--jsonl');

    const [line] = lines().map((record) => ScanLine.parse(record));
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    expect(line).toMatchObject({ path: at('uploads/copied.mp3'), verdict: 'flagged', model: 'refrain-fp-1' });
    expect(line!.detections).toHaveLength(1);
    const [detection] = line!.detections;
    expect(detection).toMatchObject({
      referenceId: 'night-1',
      title: 'Night Song',
      path: at('masters/night.flac'),
      action: 'review',
    });
    const [span] = detection!.spans;
    const within = (value: number, truth: number) => expect(Math.abs(value - truth)).toBeLessThan(1500);
    within(span!.uploadStartMs, 15_000);
    within(span!.uploadEndMs, 35_000);
    within(span!.referenceStartMs, 10_000);
    within(span!.referenceEndMs, 30_000);
    expect(span!.speed).toBeCloseTo(1, 1);
  });

  test('draws for people what machines read', async () => {
    const { stdout } = await refrain('scan', at('uploads/copied.mp3'));

    expect(stdout).toContain('⚑ flagged');
    expect(stdout).toMatch(/A {2}·+█+·+ {2}Night Song – Ada/);
    // The other test holds the edges to their places; here it is how they are written.
    expect(stdout).toMatch(/0:1[456]–0:3[3456] +0:(09|10|11)–0:(28|29|30|31) +×1\.0\d/);
  });

  test('shows a hostile name on one line and without its escape codes, and hands it on as it is', async () => {
    const people = await refrain('scan', at('uploads', ODD_NAME));
    const machines = await refrain('scan', at('uploads', ODD_NAME), '--jsonl');

    expect(people.code).toBe(0);
    expect(people.stdout).toContain('✔ clear');
    expect(people.stdout).toContain('my "up"\\nload \\x1b[31m🎉.mp3');
    expect(people.stdout).not.toContain('\u001b');
    expect(machines.lines()).toMatchObject([
      { path: at('uploads', ODD_NAME), verdict: 'clear', detections: [] },
    ]);
  });

  test('does not scan twice what did not change, and follows a path that goes up', async () => {
    const [first] = (await refrain('scan', at('uploads/copied.mp3'), '--jsonl')).lines();
    const people = await refrain('scan', at('uploads/copied.mp3'));
    const anew = await refrain('scan', at('uploads/copied.mp3'), '--again');
    const [again] = (await refrain('scan', at('masters/../uploads/copied.mp3'), '--jsonl')).lines();

    expect(again!.scanId).toBe(first!.scanId);
    expect(people.stdout).toContain('This verdict is from an earlier scan');
    expect(anew.stdout).not.toContain('earlier scan');
    const scans = (await refrain('scans', '--jsonl')).lines();
    expect(scans.filter(({ scanId }) => scanId === first!.scanId)).toMatchObject([
      { attempts: expect.any(Number) },
    ]);
  });

  test('gives every bad file its reason, never the word clear, and goes on with the others', async () => {
    const bad = at('bad');
    mkdirSync(bad);
    const mp3 = readFileSync(at('uploads/copied.mp3'));
    writeFileSync(join(bad, 'empty.mp3'), '');
    writeFileSync(join(bad, 'text.mp3'), 'this is text, and no audio at all\n'.repeat(100));
    writeFileSync(join(bad, 'playlist.mp3'), '#EXTM3U\nhttp://127.0.0.1:9/secret.mp3\n');
    writeFileSync(join(bad, 'noise.flac'), Buffer.from(music(1, 8000, 5).buffer));
    audioFile(join(bad, 'short.wav'), music(0.2, RATE, 6), { format: 'wav', sampleRate: RATE });
    audioFile(join(bad, 'silence.flac'), new Float32Array(5 * RATE), { format: 'flac', sampleRate: RATE });
    audioFile(join(bad, 'nan.wav'), new Float32Array(5 * RATE).fill(Number.NaN), {
      format: 'wav',
      sampleRate: RATE,
      codec: 'pcm_f32le',
    });
    audioFile(join(bad, 'whole.m4a'), music(20, RATE, 7), { format: 'm4a', sampleRate: RATE });
    writeFileSync(join(bad, 'cut.m4a'), readFileSync(join(bad, 'whole.m4a')).subarray(0, 40_000));
    renameSync(join(bad, 'whole.m4a'), at('whole.m4a'));

    const { code, lines } = await refrain(
      'scan',
      bad,
      at('missing.mp3'),
      at('uploads/copied.mp3'),
      '--jsonl',
    );

    const found = lines().map((record) => ScanLine.parse(record));
    const verdicts = Object.fromEntries(
      found.map(({ path, verdict, reason }) => [path.split('/').at(-1), [verdict, reason?.code]]),
    );
    expect(verdicts).toMatchObject({
      'missing.mp3': ['rejected', 'NOT_FOUND'],
      'empty.mp3': ['rejected', 'EMPTY_FILE'],
      'text.mp3': ['rejected', 'NOT_MEDIA'],
      'short.wav': ['rejected', 'TOO_SHORT'],
      'silence.flac': ['rejected', 'SILENT'],
      'copied.mp3': ['flagged', undefined],
    });
    const others = found.filter(({ path }) => !path.endsWith('copied.mp3'));
    expect(others).toHaveLength(9);
    for (const { verdict, reason } of others) {
      expect(['rejected', 'incomplete']).toContain(verdict);
      expect(reason?.message).toBeTruthy();
    }
    expect(mp3.length).toBeGreaterThan(0);
    expect(code).toBe(3);
  });

  test('a file that breaks off is incomplete, and what was heard of it is searched', async () => {
    const mp3 = readFileSync(at('uploads/copied.mp3'));
    audioFile(at('long.flac'), music(60, RATE, 8), { format: 'flac', sampleRate: RATE });
    writeFileSync(at('cut-clear.flac'), readFileSync(at('long.flac')).subarray(0, 400_000));
    writeFileSync(at('cut-copied.mp3'), mp3.subarray(0, Math.floor(mp3.length * 0.6)));

    const { lines } = await refrain('scan', at('cut-clear.flac'), at('cut-copied.mp3'), '--jsonl');

    expect(lines()).toMatchObject([
      { verdict: 'incomplete', reason: { code: 'TRUNCATED' } },
      { verdict: 'flagged', detections: [{ referenceId: 'night-1' }] },
    ]);
  });

  test('exits with 1 when nothing is flagged but something went wrong, and says that nothing is registered', async () => {
    const { code, stderr } = await runCli([
      'scan',
      at('masters/rain.ogg'),
      at('gone'),
      '--store',
      at('empty-store'),
    ]);

    expect(code).toBe(1);
    expect(stderr).toContain('is empty, so nothing can be found');
  });

  test('clears nothing while recordings of an earlier model wait to be registered again', async () => {
    const old = at('old-store');
    cpSync(store, old, { recursive: true });
    {
      await using opened = await openStore(old, { mode: 'write' });
      const night = await opened.references.get('night-1');
      await opened.references.put({ ...night!, model: { id: 'older', sha256: '0'.repeat(64) } });
    }

    const refused = await runCli(['scan', at('uploads/copied.mp3'), '--again', '--store', old]);
    const again = await runCli(['register', at('masters/night.flac'), '--jsonl', '--store', old]);
    const scanned = await runCli(['scan', at('uploads/copied.mp3'), '--store', old]);

    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^refrain: 1 recording in .* was registered with another model/m);
    expect(again.lines()).toMatchObject([{ outcome: 'admitted', referenceId: 'night-1' }]);
    expect(scanned.code).toBe(3);
  });
});

describe('review', () => {
  let caseId: string;
  beforeAll(async () => {
    await refrain('scan', at('uploads/copied.mp3'));
    [{ caseId } = { caseId: '' }] = (await refrain('cases', '--jsonl')).lines() as { caseId: string }[];
  });

  test('shows a case with both sides', async () => {
    const list = await refrain('cases', '--state', 'open');
    const { stdout } = await refrain('cases', 'show', caseId);

    expect(list.stdout).toContain(caseId);
    expect(stdout).toContain('Night Song – Ada (night-1)');
    expect(stdout).toMatch(/0:1\d–0:3\d/);
  });

  test('the queue holds a CloudEvents message for it; taking it empties the queue', async () => {
    const peeked = (await refrain('queue', 'peek', '--jsonl')).lines();
    expect(peeked.length).toBeGreaterThan(0);
    expect(peeked[0]).toMatchObject({ specversion: '1.0', type: 'refrain.detection.flagged.v1' });

    const taken = (await refrain('queue', 'take', '--limit', '100', '--jsonl')).lines();
    expect(taken).toEqual(peeked);
    expect((await refrain('queue', 'list', '--jsonl')).lines()).toContainEqual({
      queue: 'review',
      visible: 0,
      inFlight: 0,
      delayed: 0,
      dead: 0,
    });
  });

  test('a decision is written down once, and a closed case takes no other', async () => {
    const decide = (decision: string, by: string) =>
      refrain('decide', caseId, decision, '--reason', 'same master', '--by', by, '--jsonl');

    const escalated = await decide('escalate', 'ada');
    const closed = await decide('confirm', 'bob');
    const repeated = await decide('confirm', 'bob');
    const refused = await decide('reject', 'eve');

    expect(escalated.lines()).toMatchObject([{ state: 'escalated', decisions: [{ by: 'ada' }] }]);
    expect(closed.lines()).toMatchObject([{ state: 'closed', decisions: [{ by: 'ada' }, { by: 'bob' }] }]);
    expect(repeated.lines()).toEqual(closed.lines());
    expect({ code: refused.code, stdout: refused.stdout }).toEqual({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/is closed: bob said "confirm"/);
    expect((await refrain('cases', '--state', 'open', '--jsonl')).lines()).not.toContainEqual(
      expect.objectContaining({ caseId }),
    );
  });
});

describe('references and policies', () => {
  const own = at('own-store');
  const mine = (...args: string[]) => runCli([...args, '--store', own]);
  const scanAgain = async () => {
    const { code, lines } = await mine('scan', at('uploads/copied.mp3'), '--again', '--jsonl');
    return { code, action: ScanLine.parse(lines()[0]).detections[0]?.action };
  };
  beforeAll(async () => {
    await mine('register', at('masters/night.flac'), '--id', 'night', '--owner', 'Night Label');
  });

  test('a policy of the owner decides, and the more restrictive one wins', async () => {
    writeFileSync(at('track.json'), JSON.stringify({ rules: [{ action: 'track' }] }));
    const tenSeconds = { of: 'upload', unit: 'seconds', relation: 'atLeast', value: 10 };
    writeFileSync(at('block.json'), JSON.stringify({ rules: [{ when: [tenSeconds], action: 'block' }] }));

    await mine('policy', 'set', '--owner', 'Night Label', at('track.json'));
    expect(await scanAgain()).toEqual({ code: 3, action: 'track' });

    await mine('policy', 'set', '--reference', 'night', at('block.json'));
    expect(await scanAgain()).toEqual({ code: 3, action: 'block' });
    expect((await mine('policy', 'show', '--reference', 'night')).stdout).toContain(
      'block when at least 10 s of the upload',
    );
  });

  test('a policy that makes no sense is refused with the place of the fault', async () => {
    writeFileSync(at('bad.json'), JSON.stringify({ rules: [{ action: 'destroy' }] }));

    const { code, stderr } = await mine('policy', 'set', '--owner', 'x', at('bad.json'));

    expect(code).toBe(2);
    expect(stderr).toMatch(/rules\[0\]\.action/);
  });

  test('a disabled recording is not found, an enabled one is', async () => {
    await mine('references', 'disable', 'night');
    expect(await scanAgain()).toEqual({ code: 0, action: undefined });

    await mine('references', 'enable', 'night');
    expect(await scanAgain()).toMatchObject({ code: 3 });
  });

  test('what is excluded of it is not found, and the rest is', async () => {
    // The upload holds 0:10 to 0:30 of it.
    await mine('references', 'exclude', 'night', '0:05-0:15');
    const partly = await mine('scan', at('uploads/copied.mp3'), '--again', '--jsonl');
    expect(ScanLine.parse(partly.lines()[0]).detections[0]!.spans).toEqual([
      expect.objectContaining({ referenceStartMs: 15_000 }),
    ]);

    const { stdout } = await mine('references', 'exclude', 'night', '0:14-0:35');
    expect(stdout).toContain('0:05–0:35');
    expect(await scanAgain()).toEqual({ code: 0, action: undefined });

    const outside = await mine('references', 'exclude', 'night', '10:00-11:00');
    expect(outside.stderr).toContain('is no part of reference night');
  });

  test('deleting gives a receipt, and leaves nothing to find', async () => {
    const { lines } = await mine('references', 'delete', 'night', '--jsonl');

    expect(lines()).toMatchObject([
      {
        receiptId: expect.stringMatching(/^receipt_/),
        referenceId: 'night',
        segmentsErased: expect.any(Number),
      },
    ]);
    expect(lines()[0]!.segmentsErased).toBeGreaterThan(10);
    expect((await mine('references', '--jsonl')).lines()).toEqual([]);
    expect((await mine('references', 'show', 'night')).stderr).toContain('there is no reference night');
  });
});

describe('usage', () => {
  test.concurrent.each([
    ['no verb', [], /Usage: refrain/],
    ['an unknown verb', ['scna'], /unknown command 'scna'[\s\S]*Did you mean scan\?/],
    ['an unknown verb of a group', ['cases', 'shwo'], /"cases" has no verb "shwo"; it has: list, show/],
    ['an unknown option', ['scan', 'x', '--jsnl'], /unknown option '--jsnl'[\s\S]*--jsonl/],
    ['no path', ['scan'], /missing required argument 'path'/],
    [
      'a decision that is none',
      ['decide', 'c', 'maybe', '--reason', 'r'],
      /Allowed choices are confirm, reject/,
    ],
    ['no reason', ['decide', 'c', 'skip'], /required option '--reason <text>'/],
    ['a span that is none', ['references', 'exclude', 'r', 'soon'], /is no stretch of time/],
    ['an owner without a name', ['register', 'x', '--owner', ' '], /--owner must name somebody/],
    ['a policy of nobody', ['policy', 'show'], /whose policy/],
    ['a folder that is not there', ['watch', at('nowhere')], /there is no such file/],
  ])('%s is answered with what to do, and exit code 2', async (_, args, message) => {
    const { code, stdout, stderr } = await refrain(...args);

    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test.each(['register', 'scan', 'watch', 'references', 'scans', 'cases', 'decide', 'policy', 'queue'])(
    '%s explains itself with examples',
    async (verb) => {
      const { code, stdout } = await runCli([verb, '--help']);

      expect(code).toBe(0);
      expect(stdout).toMatch(/Examples:\n +\$ refrain /);
    },
  );

  test('a store without a name is no store, such as an empty variable gives', async () => {
    const { code, stderr } = await runCli(['scan', at('uploads/copied.mp3'), '--store', '']);

    expect(code).toBe(2);
    expect(stderr).toBe('refrain: --store (or REFRAIN_STORE) must name a folder\n');
  });

  test('a fault of the user shows no stack, and a missing store says what makes one', async () => {
    const { code, stderr } = await runCli(['scans'], { cwd: folder.path });

    expect(code).toBe(1);
    expect(stderr).toMatch(/^refrain: There is no store at .*\.refrain; "refrain register" makes one\n$/);
  });

  test('a model that is not there is missed in plain words', async () => {
    const { code, stderr } = await refrain('scan', at('uploads/copied.mp3'), '--model', at('nowhere'));

    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^refrain: there is no model in \S+nowhere: \S+model\.json cannot be read \(ENOENT\)\n$/,
    );
  });

  test('a damaged model is refused by name', async () => {
    mkdirSync(at('model'));
    const original = join(import.meta.dirname, '../../models/refrain-fp-1');
    copyFileSync(join(original, 'model.json'), at('model/model.json'));
    const graph = readFileSync(join(original, 'model.onnx'));
    graph[graph.length >> 1]! ^= 1;
    writeFileSync(at('model/model.onnx'), graph);

    const { code, stderr, stdout } = await refrain('scan', at('uploads/copied.mp3'), '--model', at('model'));

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/model\.onnx is not the graph that model\.json names/);
  });

  test('nothing is told to anybody: ONNX Runtime keeps no telemetry', async () => {
    mkdirSync(at('home'));
    vi.stubEnv('HOME', at('home'));
    const { code } = await refrain('scan', at('masters/silence.wav')).finally(() => vi.unstubAllEnvs());

    expect(code).toBe(1);
    expect(readdirSync(at('home'))).toEqual([]);
  });

  test('a second writer is told who is at work', async () => {
    mkdirSync(at('watched-busy'));
    const watching = startCli(['watch', at('watched-busy'), '--store', store, '--jsonl', '--settle', '0.1']);
    copyFileSync(at('masters/rain.ogg'), at('watched-busy/rain.ogg'));
    await watching.printed(/flagged/);

    const { code, stderr } = await refrain('references', 'disable', 'night-1');
    const reader = await refrain('references', '--jsonl');
    watching.process.kill('SIGINT');

    expect(code).toBe(1);
    expect(stderr).toContain(`being written by process ${watching.process.pid}`);
    expect(reader.lines().length).toBeGreaterThan(0);
    expect((await watching.result).code).toBe(0);
  });
});

describe('watch', () => {
  test('scans what lands in a folder, each file once and whole, and ends with Ctrl-C', async () => {
    const inbox = at('inbox');
    mkdirSync(join(inbox, 'deep'), { recursive: true });
    const mp3 = readFileSync(at('uploads/copied.mp3'));
    const half = mp3.length >> 1;
    writeFileSync(join(inbox, 'early.mp3'), mp3);
    writeFileSync(join(inbox, 'growing.mp3'), mp3.subarray(0, half));
    writeFileSync(join(inbox, 'browser.mp3.part'), mp3.subarray(0, half));
    writeFileSync(join(inbox, 'notes.txt'), 'not media');

    // While the watch starts, and until it has scanned what was complete, somebody goes on writing.
    let written = half;
    const writer = setInterval(() => {
      appendFileSync(join(inbox, 'growing.mp3'), mp3.subarray(written, written + 10));
      written += 10;
    }, 100);
    const watching = startCli(['watch', inbox, '--store', store, '--jsonl', '--settle', '3']);
    await watching.printed(/early\.mp3/).finally(() => clearInterval(writer));
    appendFileSync(join(inbox, 'growing.mp3'), mp3.subarray(written));
    await watching.printed(/growing\.mp3/);
    renameSync(join(inbox, 'browser.mp3.part'), join(inbox, 'deep', 'browser.mp3'));
    await watching.printed(/browser\.mp3/);
    watching.process.kill('SIGINT');
    const { code, lines, stderr } = await watching.result;

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(lines()).toMatchObject([
      { path: join(inbox, 'early.mp3'), verdict: 'flagged', detections: [{ referenceId: 'night-1' }] },
      { path: join(inbox, 'growing.mp3'), verdict: 'flagged', detections: [{ referenceId: 'night-1' }] },
      { path: join(inbox, 'deep/browser.mp3'), verdict: 'flagged' },
    ]);
    const [early, growing] = lines();
    expect(early!.durationMs).toBeGreaterThan(49_000);
    expect(growing!.durationMs).toBe(early!.durationMs);
  });

  test('gives up with a word when the folder goes away', async () => {
    mkdirSync(at('short-lived'));
    copyFileSync(at('masters/silence.wav'), at('short-lived/silence.wav'));
    const watching = startCli(['watch', at('short-lived/'), '--store', store, '--settle', '0']);
    await watching.printed(/rejected|silent/);
    renameSync(at('short-lived'), at('elsewhere'));

    const { code, stderr } = await watching.result;

    expect(code).toBe(1);
    expect(stderr).toMatch(/^refrain: \S+short-lived\/? is not there any more\n$/);
  });
});

import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, setPriority } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DEFAULT_MODEL, Runtime } from '../../local/runtime.ts';
import { ask, type EngineSpec } from './ask.ts';
import { BENCH_CACHE, hashOf } from './audio.ts';
import { fingerprintAll } from './chromaprint.ts';
import { type Finding, RefrainEngine, registered } from './engine.ts';
import { latenciesOf } from './latency.ts';
import { counter, prepare, type Questions } from './queries.ts';
import type { Query } from './render.ts';
import { chartOf, markdownOf, type Report, reportOf } from './report.ts';
import { cachedViewOf, protocolOf, SplitName } from './split.ts';

const HELP = `npm run bench:accuracy -- [options]

  --split validation|test   default test; decisions are made on validation only (see LOOKED_AT.md)
  --per-cell N              queries per condition and length, default 100
  --negatives N             excerpts of what is not in the catalogue, per length, default 1000
  --long-hours H            hours of whole tracks that are not in the catalogue, default 20
  --conditions a,b          only these
  --no-backwards            leave the training music played backwards out of the catalogue
  --no-chromaprint          leave the peer out
  --peer NAME=FILE          another peer's answers: JSON lines {"query": id, "findings": [...]}, as in answers/*.jsonl
  --render-only             make the queries and stop: nothing is asked, nothing is looked at
  --model DIR               default models/refrain-fp-1
  --workers N               processes that scan at a time, default one per core
  --out NAME                default accuracy for test, validation-latest for validation

Answers are kept as they come: a run that was broken off goes on where it was, as long as model, code and catalogue are
the same. Chromaprint's do not depend on any of ours but the catalogue.

Needs ffmpeg, sox, rubberband, espeak-ng, flite and fpcalc, and the music (models/train/fetch_music.sh).
`;

const { values: options } = parseArgs({
  options: {
    split: { type: 'string', default: 'test' },
    'per-cell': { type: 'string', default: '100' },
    negatives: { type: 'string', default: '1000' },
    'long-hours': { type: 'string', default: '20' },
    conditions: { type: 'string' },
    backwards: { type: 'boolean', default: true },
    chromaprint: { type: 'boolean', default: true },
    peer: { type: 'string', multiple: true, default: [] },
    'render-only': { type: 'boolean', default: false },
    model: { type: 'string', default: DEFAULT_MODEL },
    workers: { type: 'string', default: String(availableParallelism()) },
    out: { type: 'string' },
    help: { type: 'boolean' },
  },
  allowNegative: true,
});

if (options.help) {
  console.log(HELP);
  process.exit(0);
}
setPriority(Number(process.env.BENCH_NICE ?? 10)); // hours of work on somebody's machine: let them go on with theirs

const split = SplitName.exclude(['train']).parse(options.split);
const workers = Number(options.workers);
const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

const protocol = await protocolOf(split);
say(
  `${protocol.insiders.length} tracks to be found, ${protocol.outsiders.length} kept out, ${protocol.distractors.length} distractors`,
);
const questions = await prepare(
  protocol,
  {
    perCell: Number(options['per-cell']),
    negatives: Number(options.negatives),
    longHours: Number(options['long-hours']),
    backwards: options.backwards,
    ...(options.conditions && { conditions: options.conditions.split(',') }),
  },
  say,
);
if (options['render-only']) process.exit(0);
if (split === 'test') await noteThatItWasLookedAt();

const tracks = new Map(
  [...protocol.insiders, ...protocol.outsiders, ...protocol.distractors].map((track) => [track.id, track]),
);
const viewOf = async (id: string) => {
  const track = tracks.get(id);
  return track && cachedViewOf(track);
};

const { catalogue, positives, negatives, long } = questions;
const folder = join(BENCH_CACHE, 'answers', `${split}-${hashOf([catalogue, positives, negatives, long])}`);
await mkdir(folder, { recursive: true });
await writeFile(join(folder, 'catalogue.jsonl'), lines(catalogue));
await writeFile(
  join(folder, 'queries.jsonl'),
  lines([...positives, ...negatives].map(({ id, path }) => ({ query: id, path }))),
);

const { storeDir, facts } = await registered(
  catalogue,
  counter(say, 'registered', catalogue.length),
  options.model,
);
const answers = await answersOf({ name: 'refrain', storeDir, modelDir: options.model }, [
  ...positives,
  ...negatives,
  ...long,
]);

const peers: { name: string; answers: Map<string, Finding[]> }[] = [];
if (options.chromaprint) {
  await fingerprintAll(catalogue, workers, counter(say, 'fpcalc', catalogue.length));
  const theirs = await answersOf({ name: 'chromaprint', catalogue }, [...positives, ...negatives]);
  peers.push({ name: 'chromaprint', answers: theirs });
}
for (const peer of options.peer) {
  const [name, file] = peer.split('=', 2) as [string, string];
  const read = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  peers.push({ name, answers: new Map(read.map(({ query, findings }) => [query, findings])) });
}

const tens = positives.filter(({ seconds }) => seconds === 10);
const timed = tens.filter((_, i) => i % Math.ceil(tens.length / 100) === 0).map(({ path }) => path);
await using refrain = new RefrainEngine(await Runtime.open({ storeDir, modelDir: options.model }));
const report = await reportOf({
  split,
  model: refrain.runtime.model.model,
  facts,
  questions,
  answers,
  peers,
  latency: await latenciesOf(timed, refrain.runtime),
  viewOf,
});
await write(report, questions);

/** Asks, and leaves the answers beside the queries. */
async function answersOf(engine: EngineSpec, queries: readonly Query[]): Promise<Map<string, Finding[]>> {
  const answers = await ask(engine, queries, { workers, say });
  await writeFile(
    join(folder, `${engine.name}.jsonl`),
    lines([...answers].map(([query, findings]) => ({ query, findings }))),
  );
  return answers;
}

function lines(items: readonly unknown[]): string {
  return items.map((item) => `${JSON.stringify(item)}\n`).join('');
}

async function write(report: Report, { positives }: Questions): Promise<void> {
  const results = join(import.meta.dirname, '../results');
  const name = options.out ?? (split === 'test' ? 'accuracy' : 'validation-latest');
  await mkdir(results, { recursive: true });
  await writeFile(join(results, `${name}.json`), `${JSON.stringify(report, null, 1)}\n`);
  await writeFile(join(results, `${name}.md`), markdownOf(report));
  await writeFile(join(results, `${name}.svg`), chartOf(report));
  console.log(markdownOf(report));
  say(`${positives.length} positives; written to bench/results/${name}.{json,md,svg}; answers in ${folder}`);
}

/** The test split serves final figures only; who looks, signs. */
async function noteThatItWasLookedAt(): Promise<void> {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname })
    .toString()
    .trim();
  const line = `| ${new Date().toISOString().slice(0, 16).replace('T', ' ')} | ${commit} | bench:accuracy, ${options['per-cell']} per cell | |\n`;
  await appendFile(join(import.meta.dirname, 'LOOKED_AT.md'), line);
}

import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BENCH_CACHE, hashOf } from './audio.ts';
import { ChromaprintEngine } from './chromaprint.ts';
import { type Engine, type Finding, RefrainEngine } from './engine.ts';
import { latencyOf } from './latency.ts';
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
  --out NAME                default accuracy for test, validation for validation

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
    model: { type: 'string' },
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

const folder = join(BENCH_CACHE, 'answers', `${split}-${hashOf(Object.values(options))}`);
await mkdir(folder, { recursive: true });
await writeFile(join(folder, 'catalogue.jsonl'), lines(questions.catalogue));
await writeFile(
  join(folder, 'queries.jsonl'),
  lines([...questions.positives, ...questions.negatives].map(({ id, path }) => ({ query: id, path }))),
);

const refrain = await RefrainEngine.open(
  questions.catalogue,
  counter(say, 'registered', questions.catalogue.length),
  options.model,
);
const answers = await ask(refrain, [...questions.positives, ...questions.negatives, ...questions.long]);
const tens = questions.positives.filter(({ seconds }) => seconds === 10);
const latencies = [];
for (const query of tens.slice(0, 5)) await latencyOf(query.path, refrain.runtime);
for (const query of tens.filter((_, i) => i % Math.ceil(tens.length / 100) === 0)) {
  latencies.push(await latencyOf(query.path, refrain.runtime));
}
const model = refrain.runtime.model.model;
await refrain[Symbol.asyncDispose]();

const peers: { name: string; answers: Map<string, Finding[]> }[] = [];
if (options.chromaprint) {
  const engine = await ChromaprintEngine.open(
    questions.catalogue,
    counter(say, 'fpcalc', questions.catalogue.length),
  );
  peers.push({
    name: engine.name,
    answers: await ask(engine, [...questions.positives, ...questions.negatives]),
  });
}
for (const peer of options.peer) {
  const [name, file] = peer.split('=', 2) as [string, string];
  const read = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  peers.push({ name, answers: new Map(read.map(({ query, findings }) => [query, findings])) });
}

const report: Report = await reportOf({
  split,
  model,
  facts: refrain.facts,
  questions,
  answers,
  peers,
  latencies,
  viewOf,
});
await write(report, questions);

/** Puts every query to an engine and keeps the answers beside the queries. */
async function ask(engine: Engine, queries: readonly Query[]): Promise<Map<string, Finding[]>> {
  const counted = counter(say, `${engine.name} answered`, queries.length);
  const answers = new Map<string, Finding[]>();
  for (const query of queries) {
    answers.set(query.id, await engine.scan(query.path));
    counted();
  }
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

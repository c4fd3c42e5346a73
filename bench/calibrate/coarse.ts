import { parseArgs } from 'node:util';
import {
  align,
  type MatchedSpan,
  promising,
  propose,
  type UploadSegments,
} from '../../functions/core/alignment/index.ts';
import { calibrationOf } from '../../functions/core/confidence.ts';
import { type Hit, hitColumns, hitRows } from '../../functions/core/segments.ts';
import { OnnxModel } from '../../functions/embed/onnx-model.ts';
import { Random } from '../accuracy/random.ts';
import { asScanned, type Case, collect } from './collect.ts';
import { judge } from './judge.ts';

// node bench/calibrate/coarse.ts [--model models/refrain-fp-1] [--count 24] [--negatives 300] [--every 1]
//
// What asking for every n-th segment saves, and what it costs: the validation excerpts by themselves, and the same
// excerpts hidden in whole tracks of other music, one in every minute or so. The catalogue's full answers are cached; what
// is not asked is left out of them (`functions/core/alignment/coarse-to-fine.ts`). Nothing of the test split is read.

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/refrain-fp-1' },
    count: { type: 'string', default: '24' },
    negatives: { type: 'string', default: '300' },
    strides: { type: 'string', default: '3,4,5,6' },
    /** Takes every so many-th track only. */
    every: { type: 'string', default: '1' },
  },
});

const LENGTHS = [5, 10, 30];
/** Other music between two hidden excerpts, segments. */
const BETWEEN = [60, 140] as const;

const embedder = await OnnxModel.load(options.model, { threads: 2 });
const calibration = calibrationOf(embedder.model);
const { cases, stored, grid } = await collect(
  embedder,
  Number(options.count),
  Number(options.negatives),
  (line) => console.error(line),
  1,
);

/** An excerpt, and the segment of the upload that it begins at. */
interface Hidden {
  query: Case;
  at: number;
}
interface Upload {
  heard: UploadSegments;
  hidden: Hidden[];
}

const alone = (queries: readonly Case[]): Upload[] =>
  queries.flatMap((query) => (query.positive ? [{ heard: query.positive, hidden: [{ query, at: 0 }] }] : []));
const excerpts = cases.filter(({ condition }) => condition !== 'whole');
const whole = cases.filter(({ condition }) => condition === 'whole');
const groups: Record<string, Upload[]> = {
  '30 s, in the catalogue': alone(excerpts.filter(({ seconds }) => seconds === 30)),
  '30 s, not in it': excerpts
    .filter(({ seconds }) => seconds === 30)
    .map(({ negative }) => ({ heard: negative!, hidden: [] })),
  'whole tracks, not in it': whole.map(({ negative }) => ({ heard: negative!, hidden: [] })),
  'the same, with excerpts hidden': hidingPlaces(),
};

const heads = Object.keys(groups).map((name) => `asked of ${name}`);
const results = ['30 s alone', '5 s hidden', '10 s hidden', '30 s hidden'].map((name) => `${name}: found`);
console.log(`| stride | ${[...heads, ...results, 'false alarms'].join(' | ')} |`);
console.log(`|---:|${'---:|'.repeat(heads.length + results.length + 1)}`);
const everything = await heardAll(1);
for (const stride of [1, ...options.strides.split(',').map(Number)]) {
  const runs = stride === 1 ? everything : await heardAll(stride);
  const cells = runs.map(({ share }) => `${(100 * share).toFixed(1)} %`);
  const foundAlone = compared(runs[0]!.found, everything[0]!.found, 30);
  const foundHidden = LENGTHS.map((seconds) => compared(runs[3]!.found, everything[3]!.found, seconds));
  const alarms = runs[3]!.alarms;
  console.log(`| ${stride} | ${[...cells, foundAlone, ...foundHidden, alarms].join(' | ')} |`);
}

/** Whole tracks, with the excerpts that the same catalogue holds. */
function hidingPlaces(): Upload[] {
  const random = new Random('excerpts hidden in whole tracks');
  const waiting = Map.groupBy(
    random.shuffled(excerpts.filter(({ positive }) => positive && positive.segments.length > 0)),
    ({ asked }) => asked.positive!,
  );
  return whole
    .filter((_, i) => i % Number(options.every) === 0)
    .map(({ negative, asked }) => {
      const parts: { heard: UploadSegments; from: number; to: number; query?: Case }[] = [];
      for (let from = 0, to = 0; from < negative!.segments.length; from = to) {
        to = Math.min(negative!.segments.length, from + Math.round(random.between(...BETWEEN)));
        parts.push({ heard: negative!, from, to });
        const query = waiting.get(asked.negative)?.pop();
        if (query) {
          parts.push({ heard: query.positive!, from: 0, to: query.positive!.segments.length, query });
        }
      }
      return joined(parts);
    });
}

function joined(parts: readonly { heard: UploadSegments; from: number; to: number; query?: Case }[]): Upload {
  const segments: number[] = [];
  const hits: Hit[][] = [];
  const vectors: Buffer[] = [];
  const hidden: Hidden[] = [];
  let next = 0;
  for (const { heard, from, to, query } of parts) {
    const dimension = heard.vectors.length / heard.segments.length;
    const shift = next - heard.segments[from]!;
    if (query) hidden.push({ query, at: shift });
    for (const segment of heard.segments.subarray(from, to)) segments.push(segment + shift);
    hits.push(...hitRows(heard.hits).slice(from, to));
    vectors.push(Buffer.from(heard.vectors.slice(from * dimension, to * dimension).buffer));
    next = segments.at(-1)! + 1;
  }
  return {
    heard: {
      segments: Uint32Array.from(segments),
      vectors: new Int8Array(Buffer.concat(vectors)),
      hits: hitColumns(hits),
    },
    hidden,
  };
}

async function heardAll(stride: number) {
  const runs: Awaited<ReturnType<typeof heardWith>>[] = [];
  for (const uploads of Object.values(groups)) runs.push(await heardWith(stride, uploads));
  return runs;
}

/** What share of the segments is asked, which excerpts are found, and how many matches are of none of them. */
async function heardWith(stride: number, uploads: readonly Upload[]) {
  let [asked, all, alarms] = [0, 0, 0];
  const found: { seconds: number; right: boolean }[] = [];
  for (const { heard, hidden } of uploads) {
    const scanned = await asScanned(heard, grid, stride);
    const { starts } = scanned.hits;
    asked += scanned.segments.filter((_, row) => starts[row + 1]! > starts[row]!).length;
    all += scanned.segments.length;
    if (hidden.length === 0) continue;
    const proposals = propose(scanned, grid);
    const ids = promising(proposals, scanned, grid);
    const spans = align(
      scanned,
      proposals,
      new Map(ids.map((id) => [id, stored.get(id)!])),
      grid,
      calibration,
    );
    const judgements = hidden.map(({ query, at }) => spans.map((span) => judged(span, query, at)));
    hidden.forEach(({ query }, i) => {
      found.push({ seconds: query.seconds, right: judgements[i]!.includes('right') });
    });
    // The pieces of one match share their features: one alarm.
    const wrong = spans.filter((_, s) => judgements.every((of) => of[s] === 'wrong'));
    alarms += new Set(wrong.map(({ features }) => features)).size;
  }
  return { share: asked / Math.max(1, all), found, alarms };
}

/** A span seen from an excerpt that begins at segment `at` of the upload. */
function judged(span: MatchedSpan, query: Case, at: number) {
  const [uploadStartMs, uploadEndMs] = [span.uploadStartMs, span.uploadEndMs].map(
    (ms) => ms - at * grid.hopMs,
  ) as [number, number];
  const overlaps = uploadEndMs > 0 && uploadStartMs < query.seconds * 1000;
  return overlaps
    ? judge({ ...span, uploadStartMs, uploadEndMs }, query, stored, grid.hopMs / 1000)
    : 'wrong';
}

/** How many are found, and which others than with every segment asked. */
function compared(
  found: readonly { seconds: number; right: boolean }[],
  all: readonly { seconds: number; right: boolean }[],
  seconds: number,
): string {
  const pairs = found.flatMap((one, i) => (one.seconds === seconds ? [[one.right, all[i]!.right]] : []));
  const count = (is: boolean, was: boolean) => pairs.filter(([a, b]) => a === is && b === was).length;
  return `${count(true, true) + count(true, false)} of ${pairs.length} (-${count(false, true)} +${count(true, false)})`;
}

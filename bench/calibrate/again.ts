import { availableParallelism } from 'node:os';
import type { MatchedSpan } from '../../functions/core/alignment/index.ts';
import { type Calibration, confidenceOf } from '../../functions/core/confidence.ts';
import type { Catalogue } from '../../functions/ports/catalogue.ts';
import type { Embedder } from '../../functions/ports/embedder.ts';
import { DEFAULT_SCAN_SETTINGS } from '../../functions/scan/dependencies.ts';
import { hearAgain } from '../../functions/scan/hear-again.ts';
import { forEachConcurrently } from '../../functions/steps/pool.ts';
import { fromInt16, run } from '../accuracy/audio.ts';
import type { Case, Collected } from './collect.ts';
import type { Answer } from './evaluate.ts';
import { judge } from './judge.ts';

/** Decoders are processes of their own: with so many answers at work, no core waits. */
const AT_ONCE = 2 * availableParallelism();
/** So many doubts per hour of music that is not in the catalogue: a quarter of all short uploads that match nothing. */
const DOUBTS_PER_HOUR = 60;

/** The confidence from which on it is worth hearing again. */
export function doubtOf(answers: readonly Answer[], calibration: Calibration): number {
  const whole = answers.filter(({ query }) => query.condition === 'whole');
  const hours = whole.reduce((sum, { query }) => sum + query.seconds / 3600, 0);
  const descending = whole
    .flatMap(({ found }) => [...new Set(found.map(({ span }) => span.features))])
    .map((features) => confidenceOf(features, calibration))
    .sort((a, b) => b - a);
  return Number((descending[Math.round(DOUBTS_PER_HOUR * hours)] ?? 0).toPrecision(4));
}

/** The answers, with what a second hearing of what is in doubt adds to them: through the product's own code. */
export async function heardAgain(
  answers: readonly Answer[],
  calibration: Calibration,
  { stored, paths, grid }: Collected,
  embedder: Embedder,
  say: (line: string) => void,
): Promise<Answer[]> {
  const calibrated: Embedder = {
    model: { ...embedder.model, calibration },
    embed: (pcm) => embedder.embed(pcm),
  };
  const twice: Answer[] = [];
  let [doubts, done] = [0, 0];
  await forEachConcurrently(answers.entries(), AT_ONCE, async ([i, answer]) => {
    const { query, held, upload } = answer;
    const judgements = new Map(
      answer.found.map(({ span, judgement }) => [
        { ...span, confidence: confidenceOf(span.features, calibration) },
        judgement,
      ]),
    );
    const isPossible = ({ confidence }: MatchedSpan) => confidence >= calibration.doubt;
    const spans = [...judgements.keys()].filter(isPossible);
    const unlikely = [...judgements.keys()].filter((span) => !isPossible(span));
    const index = held ? query.asked.positive! : query.asked.negative;
    const again = await hearAgain(
      spans,
      upload,
      query.seconds * 1000,
      stored,
      {
        upload: (use) => {
          doubts++;
          return use((fromMs, toMs, rate) => stretchOf(query.audio, fromMs / 1000, toMs / 1000, rate));
        },
        recording: (id) => (use) =>
          use((fromMs, toMs, rate) =>
            stretchOf({ path: paths.get(id)!, speed: 1 }, fromMs / 1000, toMs / 1000, rate),
          ),
      },
      {
        embedder: calibrated,
        catalogue: { search: async (queries: Float32Array) => index.search(queries) } as unknown as Catalogue,
        settings: DEFAULT_SCAN_SETTINGS,
        log: console,
      },
    );
    const found = [...unlikely, ...again].map((span) => ({
      span,
      judgement: judgements.get(span) ?? judge(span, query, stored, grid.hopMs / 1000),
    }));
    twice[i] = { ...answer, found };
    if (++done % 500 === 0) say(`${doubts} of ${done} answers heard again`);
  });
  return twice;
}

/** A stretch of what was heard, in seconds of its own time. */
async function stretchOf(
  { path, speed }: Case['audio'],
  from: number,
  to: number,
  rate: number,
): Promise<Float32Array> {
  const stretch = ['-ss', String(from * speed), '-t', String((to - from) * speed), '-i', path, '-vn'];
  const pcm = ['-f', 's16le', '-ar', String(Math.round(rate / speed)), '-ac', '1', 'pipe:1'];
  return fromInt16(await run('ffmpeg', ['-v', 'error', '-nostdin', ...stretch, ...pcm]));
}

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Step } from '../functions/core/alignment/index.ts';
import { Calibration } from '../functions/core/confidence.ts';
import { readManifest } from '../functions/embed/model-folder.ts';
import { OnnxModel } from '../functions/embed/onnx-model.ts';
import { ablationTable, STEPS } from './calibrate/ablations.ts';
import { doubtOf, heardAgain } from './calibrate/again.ts';
import { collect } from './calibrate/collect.ts';
import {
  type Answer,
  acceptanceOf,
  answer,
  chanceOf,
  evidenceOf,
  report,
  thresholdOf,
} from './calibrate/evaluate.ts';

// npm run bench:calibrate -- [--model models/refrain-fp-1] [--count 32] [--negatives 200] [--write] [--ablations]
//
// Fits what turns hits into a probability (`calibration` in model.json) on validation music: how much a cosine says,
// how much a whole line says, and from which confidence on a match is reported. Nothing of the test split is read.

/**
 * At most so many false alarms per negative query, and per hour of music that is not in the catalogue. Per hour
 * half of what is promised: other music than this will be uploaded.
 */
const ALARMS = { perQuery: 0.001, perHour: 1 / 40 };

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/refrain-fp-1' },
    count: { type: 'string', default: '32' },
    negatives: { type: 'string', default: '200' },
    write: { type: 'boolean', default: false },
    ablations: { type: 'boolean', default: false },
  },
});

const embedder = await OnnxModel.load(options.model, { threads: 2 });
const say = (line: string) => console.error(line);
const data = await collect(embedder, Number(options.count), Number(options.negatives), say);
console.log(`${data.cases.length} queries, ${data.stored.size} references`);

const calibration = Calibration.parse({ chance: chanceOf(data) });
calibration.evidence = evidenceOf(data, calibration);
const once = answer(data, calibration);
calibration.acceptance = acceptanceOf(once, calibration, ALARMS);
calibration.threshold = thresholdOf(once, calibration, ALARMS);
calibration.doubt = doubtOf(once, calibration);
const answers = await heardAgain(once, calibration, data, embedder, say);
calibration.threshold = thresholdOf(answers, calibration, ALARMS);
console.log(JSON.stringify(calibration, undefined, 1));
report(answers, calibration, console.log);

if (options.ablations) {
  const ablations = [
    { name: 'all steps', answers, calibration },
    { name: 'without comparing waveforms', answers: answers.map(withoutWaveforms), calibration },
    { name: 'without hearing doubts again', answers: once, calibration },
  ];
  for (const step of Object.keys(STEPS) as Step[]) {
    const poorer = answer(data, calibration, { without: [step] });
    const refitted = { ...calibration, acceptance: acceptanceOf(poorer, calibration, ALARMS) };
    refitted.threshold = thresholdOf(poorer, refitted, ALARMS);
    ablations.push({ name: `that, and without ${STEPS[step]}`, answers: poorer, calibration: refitted });
    say(`tried without ${STEPS[step]}`);
  }
  console.log(`\n${ablationTable(ablations)}`);
}

/** What was found, but for what only the recording told. */
function withoutWaveforms(answer: Answer): Answer {
  return { ...answer, found: answer.found.filter(({ span }) => span.features.coherence === undefined) };
}

if (options.write) {
  const path = join(options.model, 'model.json');
  const { sha256 } = await readManifest(options.model);
  if (sha256 !== embedder.model.sha256) throw new Error(`${path} changed meanwhile: calibrate again`);
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, `${JSON.stringify({ ...manifest, calibration }, undefined, 2)}\n`);
  console.log(`written to ${path}`);
}

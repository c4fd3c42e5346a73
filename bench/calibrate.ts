import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Calibration } from '../functions/core/confidence.ts';
import { readManifest } from '../functions/embed/model-folder.ts';
import { OnnxModel } from '../functions/embed/onnx-model.ts';
import { collect } from './calibrate/collect.ts';
import { acceptanceOf, answer, chanceOf, evidenceOf, report, thresholdOf } from './calibrate/evaluate.ts';

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
const answers = answer(data, calibration);
calibration.acceptance = acceptanceOf(answers, calibration, ALARMS);
calibration.threshold = thresholdOf(answers, calibration, ALARMS);
console.log(JSON.stringify(calibration, undefined, 1));
report(answers, calibration, console.log);

if (options.ablations) {
  for (const step of ['slopes', 'sharpening', 'extension', 'chaining'] as const) {
    const poorer = answer(data, calibration, { without: [step] });
    const refitted = { ...calibration, acceptance: acceptanceOf(poorer, calibration, ALARMS) };
    refitted.threshold = thresholdOf(poorer, refitted, ALARMS);
    console.log(`\nwithout ${step}:`);
    report(poorer, refitted, console.log);
  }
}

if (options.write) {
  const path = join(options.model, 'model.json');
  const { sha256 } = await readManifest(options.model);
  if (sha256 !== embedder.model.sha256) throw new Error(`${path} changed meanwhile: calibrate again`);
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, `${JSON.stringify({ ...manifest, calibration }, undefined, 2)}\n`);
  console.log(`written to ${path}`);
}

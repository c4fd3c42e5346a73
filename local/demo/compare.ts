import type { ScanReport } from '../cli/report.ts';
import type { Hidden } from './scenario.ts';

type Detection = ScanReport['detections'][number];
type Stretch = Pick<
  Hidden,
  'uploadStartMs' | 'uploadEndMs' | 'referenceStartMs' | 'referenceEndMs' | 'speed'
>;

/** How far a start or an end may be off, and a speed. */
const TOLERANCE_MS = 1000;
const SPEED_TOLERANCE = 0.01;

/** What was hidden, beside what was found of it. */
export interface Finding {
  hidden: Hidden;
  detection?: Detection;
  /** All that was found of it, as one stretch. */
  found?: Stretch;
  /** Found minus hidden, where it was found. */
  off?: Stretch;
  /** Found at its place on both sides, within a second, at its speed. */
  right: boolean;
}

/** Holds a scan against the truth: what became of everything hidden, and what was found that was never there. */
export function compare(
  hidden: readonly Hidden[],
  { detections }: ScanReport,
): { findings: Finding[]; unexpected: Detection[] } {
  return {
    findings: hidden.map((item) => findingOf(item, detections)),
    unexpected: detections.filter(({ title }) => !hidden.some((item) => item.title === title)),
  };
}

function findingOf(hidden: Hidden, detections: readonly Detection[]): Finding {
  const detection = detections.find(({ title }) => title === hidden.title);
  if (!detection) return { hidden, right: false };
  const found = joined(detection.spans);
  const off = {
    uploadStartMs: found.uploadStartMs - hidden.uploadStartMs,
    uploadEndMs: found.uploadEndMs - hidden.uploadEndMs,
    referenceStartMs: found.referenceStartMs - hidden.referenceStartMs,
    referenceEndMs: found.referenceEndMs - hidden.referenceEndMs,
    speed: found.speed - hidden.speed,
  };
  const { speed, ...edges } = off;
  const right =
    Math.abs(speed) <= SPEED_TOLERANCE && Object.values(edges).every((ms) => Math.abs(ms) <= TOLERANCE_MS);
  return { hidden, detection, found, off, right };
}

/** A voice over the music may part a stretch; from the first edge to the last it is one again. */
function joined(spans: Detection['spans']): Stretch {
  const longest = spans.reduce((a, b) => (lengthOf(b) > lengthOf(a) ? b : a));
  return {
    uploadStartMs: Math.min(...spans.map((span) => span.uploadStartMs)),
    uploadEndMs: Math.max(...spans.map((span) => span.uploadEndMs)),
    referenceStartMs: Math.min(...spans.map((span) => span.referenceStartMs)),
    referenceEndMs: Math.max(...spans.map((span) => span.referenceEndMs)),
    speed: longest.speed,
  };
}

const lengthOf = ({ uploadStartMs, uploadEndMs }: Stretch) => uploadEndMs - uploadStartMs;

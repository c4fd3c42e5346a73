import { Places } from './places.ts';
import type { Trace } from './trace.ts';

/** Traces of one reference that belong together: pieces with something cut out or talked over between them. */
export interface Chain {
  traces: Trace[];
  score: number;
}

/** A trace loses against a better one of the same reference that explains this share of its upload stretch. */
const SAME_STRETCH = 0.5;
/** Pieces at most so many segments apart in the upload, or sharing at most so many that straddle the cut ... */
const LONGEST_GAP = 3;
const LONGEST_OVERLAP = 6;
/** (farther apart if nothing is cut out, but talked over) */
const LONGEST_TALK = 8;
/** ... with at most so many cut out of the reference, or repeated, are one detection. */
const LONGEST_CUT = 8;
const LONGEST_REPEAT = 1;
/** ... and when they sound alike: chance resembles the reference less than the match does by far ... */
const LEAST_LIKENESS = 0.6;
/** ... and play at one speed: the logarithms of their speeds differ by so much at most. */
const LARGEST_SPEED_CHANGE = 0.1;
/** What joining costs, nats: a chance piece must not ride along. */
const LINK_COST = 2;

/** Most uploads play at the original speed: another one has to explain so much more, nats. */
const SPEED_COST = 1.5;

const worth = ({ score, line }: Trace): number => score - (line.slope === 1 ? 0 : SPEED_COST);
const startOf = ({ steps, from }: Trace) => steps[from]!.upload;
const endOf = ({ steps, to }: Trace) => steps[to]!.upload + 1;

/**
 * Lines of one reference compete for stretches of the upload: loops and repeated passages make several of them
 * right, and the best is reported. Lines of different references do not compete: two albums may hold the same music.
 */
export function withoutAliases(traces: readonly Trace[]): Trace[] {
  const better = new Places();
  return [...traces]
    .sort((a, b) => worth(b) - worth(a))
    .filter((trace) => {
      let explained = 0;
      for (const other of better.along(trace)) {
        if (other.reference === trace.reference) explained += overlap(trace, other);
      }
      if (explained > SAME_STRETCH * (endOf(trace) - startOf(trace))) return false;
      better.add(trace);
      return true;
    });
}

/** Joins pieces of one reference that follow each other on nearly the same line. */
export function chain(traces: readonly Trace[]): Chain[] {
  const chains: Chain[] = [];
  const open = new Map<string, Chain[]>();
  for (const trace of [...traces].sort((a, b) => startOf(a) - startOf(b))) {
    const near = (open.get(trace.reference.id) ?? []).filter(
      ({ traces }) => startOf(trace) - endOf(traces.at(-1)!) <= LONGEST_TALK,
    );
    const before = near.find(({ traces }) => follows(trace, traces.at(-1)!));
    if (before) {
      const fresh = 1 - overlap(trace, before.traces.at(-1)!) / (endOf(trace) - startOf(trace));
      before.traces.push(trace);
      before.score += Math.max(0, fresh * trace.score - LINK_COST);
    } else {
      const chain = { traces: [trace], score: trace.score };
      chains.push(chain);
      near.push(chain);
    }
    open.set(trace.reference.id, near);
  }
  return chains;
}

function follows(next: Trace, previous: Trace): boolean {
  const gap = startOf(next) - endOf(previous);
  const cut = next.steps[next.from]!.position - previous.steps[previous.to]!.position - gap;
  // A short piece far away may be chance: recordings begin alike.
  const shortest = Math.min(endOf(next) - startOf(next), endOf(previous) - startOf(previous));
  return (
    Math.abs(Math.log(next.line.slope / previous.line.slope)) <= LARGEST_SPEED_CHANGE &&
    overlap(next, previous) <= shortest / 2 &&
    gap <= Math.min(Math.abs(cut) <= 1 ? LONGEST_TALK : LONGEST_GAP, shortest / 2) &&
    gap >= -LONGEST_OVERLAP &&
    cut >= -LONGEST_REPEAT &&
    cut <= LONGEST_CUT &&
    soundAlike(next, previous)
  );
}

function soundAlike(a: Trace, b: Trace): boolean {
  const clarities = [clarityOf(a), clarityOf(b)];
  return Math.min(...clarities) >= LEAST_LIKENESS * Math.max(...clarities);
}

/** How far a trace's segments stand out of chance where it is heard best, deviations. */
function clarityOf({ steps, from, to }: Trace): number {
  const deviations = steps.slice(from, to + 1).map((step) => step.deviations);
  return deviations.sort((a, b) => b - a)[deviations.length >> 2]!;
}

const overlap = (a: Trace, b: Trace): number =>
  Math.max(0, Math.min(endOf(a), endOf(b)) - Math.max(startOf(a), startOf(b)));

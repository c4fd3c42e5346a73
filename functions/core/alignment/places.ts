import type { Trace } from './trace.ts';

/** Upload segments per place. */
const PLACE = 10;
const placeOf = (upload: number): number => Math.floor(upload / PLACE);

/** Traces by the places of the upload that they pass: a long upload has tens of thousands, of which few ever meet. */
export class Places {
  private readonly traces = new Map<number, Trace[]>();

  constructor(traces: readonly Trace[] = []) {
    for (const trace of traces) this.add(trace);
  }

  add(trace: Trace): void {
    const { steps, from, to } = trace;
    const last = placeOf(steps[to]!.upload);
    for (let place = placeOf(steps[from]!.upload); place <= last; place++) {
      const here = this.traces.get(place);
      if (here) here.push(trace);
      else this.traces.set(place, [trace]);
    }
  }

  /** Those that pass the place of an upload segment. */
  at(upload: number): readonly Trace[] {
    return this.traces.get(placeOf(upload)) ?? [];
  }

  /** Those that pass any place of a stretch, each once. */
  along({ steps, from, to }: Trace): ReadonlySet<Trace> {
    const found = new Set<Trace>();
    const last = placeOf(steps[to]!.upload);
    for (let place = placeOf(steps[from]!.upload); place <= last; place++) {
      for (const trace of this.traces.get(place) ?? []) found.add(trace);
    }
    return found;
  }
}

import { readFileSync } from 'node:fs';

export interface Cost {
  seconds: number;
  /** Processor time of the server alone. */
  serverSeconds: number;
}

/** What something costs the server process, and how long it takes. */
export async function costOf<T>(pid: number, work: () => Promise<T>): Promise<Cost & { result: T }> {
  const [cpu, started] = [processorSeconds(pid), performance.now()];
  const result = await work();
  return {
    result,
    seconds: (performance.now() - started) / 1000,
    serverSeconds: processorSeconds(pid) - cpu,
  };
}

/** The quickest of several runs: the one that other work on the machine held up least. */
export async function bestOf(times: number, pid: number, work: () => Promise<unknown>): Promise<Cost> {
  const costs: Cost[] = [];
  for (let i = 0; i < times; i++) costs.push(await costOf(pid, work));
  return {
    seconds: Math.min(...costs.map(({ seconds }) => seconds)),
    serverSeconds: Math.min(...costs.map(({ serverSeconds }) => serverSeconds)),
  };
}

/** User and system time of a process and its threads since its start (Linux). */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  const ticksPerSecond = 100;
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

import type { ModelManifest } from '../../functions/core/model.ts';
import { CONDITIONS } from './conditions.ts';
import type { CatalogueFacts, Finding } from './engine.ts';
import type { LatencySummary } from './latency.ts';
import type { Questions } from './queries.ts';
import { LENGTHS, type Query } from './render.ts';
import {
  type Cell,
  cellOf,
  type Judged,
  judge,
  type ReliabilityBin,
  reliabilityOf,
  type ViewOf,
} from './score.ts';

export interface Report {
  date: string;
  split: string;
  model: { id: string; sha256: string };
  catalogue: CatalogueFacts & { megabytesPerHour: number };
  /** By condition, then by length in seconds. */
  cells: Record<string, Record<string, Cell>>;
  /** Excerpts of what is not in the catalogue, by kind and length: how many, and how many named a reference. */
  negatives: Record<string, Record<string, Alarms>>;
  /** Whole tracks, speech and noise that are not in the catalogue. */
  long: Alarms & { hours: number };
  reliability: ReliabilityBin[];
  /** Milliseconds of a 10 s query after decoding. */
  latency: LatencySummary;
  /** Others on the same queries, each held to 1 % false alarms by its own score on these negatives, per length. */
  peers: Record<string, { threshold: Record<string, number>; cells: Record<string, Record<string, Cell>> }>;
}

export interface Alarms {
  queries: number;
  alarms: number;
  /** Findings that turned out to be there: the same audio in a track of the catalogue. */
  reallyThere: number;
}

interface Measured {
  split: string;
  model: ModelManifest;
  facts: CatalogueFacts;
  questions: Questions;
  answers: ReadonlyMap<string, Finding[]>;
  peers: readonly { name: string; answers: ReadonlyMap<string, Finding[]> }[];
  latency: LatencySummary;
  viewOf: ViewOf;
}

export async function reportOf(measured: Measured): Promise<Report> {
  const { split, model, facts, questions, answers, peers, latency, viewOf } = measured;
  const judgeAll = async (queries: readonly Query[], by: ReadonlyMap<string, Finding[]>) =>
    Promise.all(
      queries.map(async (query) => ({ query, judged: await judge(query, by.get(query.id) ?? [], viewOf) })),
    );

  const positives = await judgeAll(questions.positives, answers);
  const negatives = await judgeAll(questions.negatives, answers);
  const long = await judgeAll(questions.long, answers);
  const everything = [...positives, ...negatives].flatMap(({ judged }) => judged);

  const report: Report = {
    date: new Date().toISOString(),
    split,
    model: { id: model.id, sha256: model.sha256 },
    catalogue: { ...facts, megabytesPerHour: facts.bytes / 1e6 / facts.hours },
    cells: cellsOf(positives),
    negatives: negativesOf(negatives),
    long: { ...alarmsOf(long), hours: questions.long.reduce((sum, { seconds }) => sum + seconds, 0) / 3600 },
    reliability: reliabilityOf(everything),
    latency,
    peers: {},
  };
  for (const peer of peers) {
    const threshold = thresholdsOf(questions.negatives, peer.answers);
    const strict = new Map(
      questions.positives.map(({ id, seconds }) => [
        id,
        (peer.answers.get(id) ?? []).filter(({ confidence }) => confidence > threshold[seconds]!),
      ]),
    );
    report.peers[peer.name] = { threshold, cells: cellsOf(await judgeAll(questions.positives, strict)) };
  }
  return rounded(report);
}

type Answered = { query: Query; judged: Judged[] };

function cellsOf(answered: readonly Answered[]): Record<string, Record<string, Cell>> {
  const cells: Record<string, Record<string, Cell>> = {};
  for (const { id } of CONDITIONS) {
    for (const seconds of LENGTHS) {
      const inside = answered.filter(({ query }) => query.condition === id && query.seconds === seconds);
      if (inside.length === 0) continue;
      cells[id] ??= {};
      cells[id][seconds] = cellOf(inside.map(({ judged }) => judged));
    }
  }
  return cells;
}

function negativesOf(answered: readonly Answered[]): Record<string, Record<string, Alarms>> {
  const kinds = ['all', ...new Set(answered.map(({ query }) => query.condition))];
  return Object.fromEntries(
    kinds.map((kind) => {
      const ofKind = answered.filter(({ query }) => kind === 'all' || query.condition === kind);
      const byLength = LENGTHS.map((seconds) => [
        seconds,
        alarmsOf(ofKind.filter(({ query }) => query.seconds === seconds)),
      ]);
      return [kind.replace('negative-', ''), Object.fromEntries(byLength)];
    }),
  );
}

function alarmsOf(answered: readonly Answered[]): Alarms {
  return {
    queries: answered.length,
    alarms: answered.filter(({ judged }) => judged.some(({ track }) => !track)).length,
    reallyThere: answered.filter(({ judged }) => judged.some(({ track }) => track)).length,
  };
}

/** The score that at most 1 % of the negatives of each length exceed. */
function thresholdsOf(
  negatives: readonly Query[],
  answers: ReadonlyMap<string, Finding[]>,
): Record<string, number> {
  return Object.fromEntries(
    LENGTHS.map((seconds) => {
      const scores = negatives
        .filter((query) => query.seconds === seconds)
        .map(({ id }) => Math.max(0, ...(answers.get(id) ?? []).map(({ confidence }) => confidence)));
      scores.sort((a, b) => b - a);
      return [seconds, scores[Math.floor(scores.length * 0.01)] ?? 0];
    }),
  );
}

/** Four digits tell all there is, and keep the file small and its history readable. */
function rounded<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, x) =>
    typeof x === 'number' && !Number.isInteger(x) ? Number(x.toPrecision(4)) : x,
  );
}

const percent = (share: number | undefined) =>
  share === undefined || Number.isNaN(share)
    ? '-'
    : (share * 100).toFixed(share > 0.995 && share < 1 ? 1 : 0);

export function markdownOf(report: Report): string {
  const { catalogue, cells, negatives, long, latency } = report;
  const queries = Object.values(cells)[0]?.[10]?.queries ?? 0;
  const at = (condition: string, pick: (cell: Cell) => number) =>
    LENGTHS.map((length) => percent(cells[condition]?.[length] && pick(cells[condition][length]))).join(
      ' / ',
    );
  const rows = CONDITIONS.filter(({ id }) => cells[id]).map(
    ({ id, title, aim }) =>
      `| ${title} | ${at(id, (cell) => cell.track)} | ${at(id, (cell) => cell.offset)} | ${aim.join(' / ')} | ${at(id, (cell) => cell.wrong)} | ${at(id, (cell) => cell.elsewhere)} | ${(cells[id]![10]?.error ?? Number.NaN).toFixed(3)} |`,
  );
  const alarms = (kind: string) =>
    LENGTHS.map(
      (length) => `${negatives[kind]![length]!.alarms} of ${negatives[kind]![length]!.queries}`,
    ).join(' | ');
  const peers = Object.entries(report.peers).map(([name, peer]) => {
    const lines = CONDITIONS.filter(({ id }) => peer.cells[id]).map(
      ({ id, title }) =>
        `| ${title} | ${LENGTHS.map((length) => percent(peer.cells[id]![length]?.track)).join(' | ')} |`,
    );
    return `## Peer: ${name}, held to 1 % false alarms\n\nRight track, per cent.\n\n| | 5 s | 10 s | 30 s |\n|---|---|---|---|\n${lines.join('\n')}\n`;
  });

  return `# Accuracy on the ${report.split} split

${report.date.slice(0, 16).replace('T', ' ')} UTC, model \`${report.model.id}\` (\`${report.model.sha256.slice(0, 12)}\`), ${queries} queries a cell,
at the default threshold. Catalogue: ${catalogue.references} references, ${catalogue.hours.toFixed(1)} h, ${catalogue.megabytesPerHour.toFixed(2)} MB per hour on disk.

Per cent at 5 / 10 / 30 s. "Elsewhere": right because the same audio also stands at another place.

| | right track | and offset within ${0.5} s | aim | a wrong track | elsewhere | median error (10 s), s |
|---|---|---|---|---|---|---|
${rows.join('\n')}

## False alarms

Excerpts of what is not in the catalogue that name a reference:

| | 5 s | 10 s | 30 s |
|---|---|---|---|
${Object.keys(negatives)
  .map((kind) => `| ${kind} | ${alarms(kind)} |`)
  .join('\n')}

Whole tracks, speech and noise that are not in the catalogue: ${long.alarms} of ${long.queries} files named a reference, in ${long.hours.toFixed(1)} h${long.alarms > 0 ? ` (one in ${(long.hours / long.alarms).toFixed(1)} h)` : ''}. Really there after all: ${long.reallyThere}.

## Reliability of the confidence

| claimed | findings | mean claimed | right |
|---|---|---|---|
${report.reliability.map(({ from, to, findings, claimed, right }) => `| ${from}-${to} | ${findings} | ${claimed.toFixed(4)} | ${right.toFixed(4)} |`).join('\n')}

## Cost

A 10 s query after decoding: ${latency.median.toFixed(0)} ms median, ${latency.p95.toFixed(0)} ms at the 95th percentile (embed ${latency.embed.toFixed(0)}, search ${latency.search.toFixed(0)}, match ${latency.match.toFixed(0)}).
Registration: ${((catalogue.hours * 3600) / catalogue.cpuSeconds).toFixed(0)}x real time in CPU time of the process, decoding apart (\`bench:speed\` measures all of it).

${peers.join('\n')}`;
}

/** A heat map of right track and offset, per condition and length, with the peers' best beside it. Reads on light and dark. */
export function chartOf(report: Report): string {
  const [row, cellWidth, left, top] = [24, 58, 250, 78];
  const rows = CONDITIONS.filter(({ id }) => report.cells[id]);
  const panels = [
    {
      title: 'Refrain',
      subtitle: 'right track and offset',
      cells: report.cells,
      pick: (cell: Cell) => cell.offset,
    },
    ...Object.entries(report.peers).map(([name, { cells }]) => ({
      title: name[0]!.toUpperCase() + name.slice(1),
      subtitle: 'right track',
      cells,
      pick: (cell: Cell) => cell.track,
    })),
  ];
  const panelWidth = cellWidth * LENGTHS.length + 24;
  const firstHard = rows.findIndex(({ group }) => group === 'hard');
  const y = (i: number) => top + i * row + (firstHard >= 0 && i >= firstHard ? 12 : 0);
  const [width, height] = [left + panels.length * panelWidth, y(rows.length) + 58];

  const labels = rows.map(
    ({ title }, i) => `<text x="${left - 12}" y="${y(i) + 16}" text-anchor="end">${escaped(title)}</text>`,
  );
  const drawn = panels.flatMap((panel, p) => {
    const x = left + p * panelWidth;
    const heads = LENGTHS.map(
      (length, c) =>
        `<text class="soft" x="${x + (c + 0.5) * cellWidth}" y="${top - 8}" text-anchor="middle">${length} s</text>`,
    );
    const tiles = rows.flatMap(({ id }, i) =>
      LENGTHS.map((length, c) => {
        const cell = panel.cells[id]?.[length];
        if (!cell) return '';
        const share = panel.pick(cell);
        const place = `x="${x + c * cellWidth + 1}" y="${y(i) + 1}" width="${cellWidth - 2}" height="${row - 2}"`;
        return `<rect ${place} rx="3" fill="${colour(share)}"/><text class="${share > 0.62 ? 'onDark' : 'onLight'}" x="${x + (c + 0.5) * cellWidth}" y="${y(i) + 16}" text-anchor="middle">${percent(share)}</text>`;
      }),
    );
    return [
      `<text class="title" x="${x}" y="22">${escaped(panel.title)}</text>`,
      `<text class="soft" x="${x}" y="40">${panel.subtitle}</text>`,
      ...heads,
      ...tiles,
    ];
  });
  const queries = Object.values(report.cells)[0]?.[10]?.queries;
  const foot = [
    `Per cent of ${queries} excerpts a cell; catalogue of ${report.catalogue.hours.toFixed(0)} h.`,
    'Refrain at its default threshold, others held to 1 % false alarms.',
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Accuracy per condition and length of excerpt">
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.soft { fill: #59636e } .title { font-size: 16px; font-weight: 600 } .onDark { fill: #fff } .onLight { fill: #0b2a33 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .soft { fill: #9198a1 } .onDark { fill: #fff } .onLight { fill: #0b2a33 } }
</style>
${[...labels, ...drawn].join('\n')}
${foot.map((line, i) => `<text class="soft" x="12" y="${height - 30 + 18 * i}">${escaped(line)}</text>`).join('\n')}
</svg>
`;
}

/** One hue from pale to deep: more is darker, on either background. */
function colour(share: number): string {
  const [from, to] = [
    [214, 236, 240],
    [6, 95, 115],
  ];
  const mix = from!.map((value, i) => Math.round(value + (to![i]! - value) * share ** 1.5));
  return `#${mix.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

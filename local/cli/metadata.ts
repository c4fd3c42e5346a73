import { readFile } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { CsvError, parse } from 'csv-parse/sync';
import { z } from 'zod';
import { Action } from '../../functions/core/detection.ts';
import { Policy } from '../../functions/core/policy.ts';
import { ExcludedSpan, Isrc, type ReferenceMetadata } from '../../functions/core/reference.ts';
import { RegisterRequest } from '../../functions/core/requests.ts';
import { sentenceOf, UsageError } from './errors.ts';
import { count, safe } from './render/text.ts';
import { parseTimeSpan } from './time.ts';

/** What a metadata file says of one recording. */
export interface Described {
  referenceId?: string;
  metadata: ReferenceMetadata;
}

export interface MetadataFile {
  rows: MetadataRow[];
  /** Columns that mean nothing to Refrain. */
  unused: string[];
}

interface MetadataRow extends Described {
  /** `row 3` of a CSV (as spreadsheets count, the header being row 1), `entry 2` of a JSON file. */
  where: string;
  path: string;
}

/** `block` is short for "whatever is found: block"; a CSV cell may hold JSON. */
const PolicyCell = z.union([
  Action.transform((action): Policy => ({ rules: [{ when: [], action }] })),
  z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue(`is neither an action (${Action.options.join(', ')}) nor JSON`);
        return z.NEVER;
      }
    })
    .pipe(Policy),
  Policy,
]);

/** `1:05-1:30, 2:00-2:10`; JSON may hold a list of such stretches, or of the milliseconds that a sidecar has. */
const ExcludedCell = z
  .union([
    z.string().transform((text) => text.split(/[,;]/).filter((part) => part.trim() !== '')),
    z.array(z.union([z.string(), ExcludedSpan])),
  ])
  .transform((stretches, context) => {
    try {
      return stretches.map((stretch) =>
        typeof stretch === 'string' ? parseTimeSpan(stretch.trim()) : stretch,
      );
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      context.addIssue(error.message);
      return z.NEVER;
    }
  });

const Row = z.object({
  path: z.string().min(1, 'names no file'),
  id: RegisterRequest.shape.referenceId,
  title: z.string().optional(),
  artist: z.string().optional(),
  album: z.string().optional(),
  owner: z.string().optional(),
  isrc: Isrc.optional(),
  policy: PolicyCell.optional(),
  excluded: ExcludedCell.optional(),
});

const COLUMNS = Object.keys(Row.shape);
/** Other names that people give to these columns. */
const ALIASES: Record<string, string> = {
  file: 'path',
  filename: 'path',
  referenceid: 'id',
  reference_id: 'id',
};
const MOST_FAULTS = 20;

/**
 * Reads a CSV (comma, semicolon or tab; the first row names the columns) or a JSON file (a list of entries, or an
 * object of entries by path).
 * @throws UsageError that lists what is wrong, with row and column
 */
export async function readMetadata(path: string): Promise<MetadataFile> {
  const text = await readText(path);
  const entries = extname(path).toLowerCase() === '.json' ? jsonEntries(text, path) : csvEntries(text, path);
  const faults: string[] = [];
  const unused = new Set<string>();
  const rows: MetadataRow[] = [];
  for (const { where, fields } of entries) {
    const known = new Map<string, unknown>();
    for (const [name, value] of Object.entries(fields)) {
      const column = ALIASES[name.trim().toLowerCase()] ?? name.trim().toLowerCase();
      if (!COLUMNS.includes(column)) unused.add(name);
      else if (value !== '' && value !== null) known.set(column, value);
    }
    const row = Row.safeParse(Object.fromEntries(known));
    if (row.success) rows.push(asRow(where, row.data));
    else faults.push(...faultsOf(where, row.error, known));
  }
  faults.push(...repeatedIds(rows));
  if (faults.length > 0) throw new UsageError(faultWords(path, faults));
  return { rows, unused: [...unused] };
}

function asRow(where: string, { path, id, ...given }: z.infer<typeof Row>): MetadataRow {
  const metadata = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { where, path, metadata, ...(id !== undefined && { referenceId: id }) };
}

/**
 * Gives each row to its file. A row names a file by its path, from the metadata file's folder or from the current one,
 * or by a name that only one of the files has.
 * @throws UsageError for rows that match no file or several, and for files with several rows
 */
export function matchMetadata(
  rows: readonly MetadataRow[],
  files: readonly string[],
  metadataPath: string,
): Map<string, Described> {
  const byPath = new Map(files.map((file) => [resolve(file), file]));
  const takenBy = new Map<string, MetadataRow>();
  const faults: string[] = [];
  for (const row of rows) {
    const exact = byPath.get(resolve(dirname(metadataPath), row.path)) ?? byPath.get(resolve(row.path));
    const candidates = exact ? [exact] : files.filter((file) => endsWith(file, row.path));
    const file = candidates[0];
    if (file === undefined) {
      faults.push(
        `${row.where}, column "path": ${quoted(row.path)} is none of the ${count(files.length, 'file')} to register`,
      );
    } else if (candidates.length > 1) {
      faults.push(
        `${row.where}, column "path": ${quoted(row.path)} may be any of ${count(candidates.length, 'file')}; write more of its path`,
      );
    } else if (takenBy.has(file)) {
      faults.push(
        `${row.where}, column "path": ${quoted(row.path)} was described by ${takenBy.get(file)!.where} already`,
      );
    } else {
      takenBy.set(file, row);
    }
  }
  if (faults.length > 0) throw new UsageError(faultWords(metadataPath, faults));
  return new Map(
    [...takenBy].map(([file, { where: _where, path: _path, ...described }]) => [file, described]),
  );
}

/** Whether the last parts of `file` are those of `path`, which may come from another system. */
function endsWith(file: string, path: string): boolean {
  const tail = path.replaceAll('\\', '/').replace(/^(\.{0,2}\/)+/, '');
  return `/${file.replaceAll('\\', '/')}`.endsWith(`/${tail}`);
}

interface Entry {
  where: string;
  fields: Record<string, unknown>;
}

function csvEntries(text: string, path: string): Entry[] {
  const header = text.slice(0, text.search(/[\r\n]|$/));
  const delimiter = [',', ';', '\t'].reduce((best, sign) =>
    header.split(sign).length > header.split(best).length ? sign : best,
  );
  let rows: string[][];
  try {
    rows = parse(text, { delimiter, relax_column_count: true, skip_empty_lines: false, trim: true });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new UsageError(`${safe(path)} is not a CSV file: ${error.message}`, { cause: error });
  }
  const [names = [], ...body] = rows;
  if (!names.some((name) => ['path', 'file', 'filename'].includes(name.toLowerCase()))) {
    throw new UsageError(
      `${safe(path)} has no column "path" (or "file"): the first row must name the columns, of which ` +
        `${COLUMNS.join(', ')} are used`,
    );
  }
  const faults: string[] = [];
  const entries = body.flatMap((cells, i): Entry[] => {
    const where = `row ${i + 2}`;
    if (cells.every((cell) => cell === '')) return [];
    if (cells.length > names.length) {
      faults.push(
        `${where}: has ${cells.length} cells, but there are ${names.length} columns; quote cells with commas`,
      );
    }
    return [{ where, fields: Object.fromEntries(names.map((name, column) => [name, cells[column] ?? ''])) }];
  });
  if (faults.length > 0) throw new UsageError(faultWords(path, faults));
  return entries;
}

function jsonEntries(text: string, path: string): Entry[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${safe(path)} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const Fields = z.record(z.string(), z.unknown());
  const list = z.array(Fields).safeParse(json);
  if (list.success) return list.data.map((fields, i) => ({ where: `entry ${i + 1}`, fields }));
  const byPath = z.record(z.string(), Fields).safeParse(json);
  if (byPath.success) {
    return Object.entries(byPath.data).map(([key, fields]) => ({
      where: `entry ${quoted(key)}`,
      fields: { path: key, ...fields },
    }));
  }
  throw new UsageError(
    `${safe(path)} must be a list of entries like {"path": "song.flac", "title": "Song"}, or an object of entries by path`,
  );
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error) => {
    throw new UsageError(`cannot read the metadata: ${sentenceOf(error)}`, { cause: error });
  });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError(`${safe(path)} is not UTF-8; save it as "CSV UTF-8"`, { cause });
  }
}

function faultsOf(where: string, error: z.ZodError, given: ReadonlyMap<string, unknown>): string[] {
  return error.issues.map(({ path, message }) => {
    const column = String(path[0]);
    if (column === 'path') return `${where}, column "path": names no file`;
    const value = given.get(column);
    if (column === 'policy') {
      return `${where}, column "policy": is neither an action (${Action.options.join(', ')}) nor a policy; see "refrain policy --help"`;
    }
    if (column === 'excluded' && typeof value !== 'string') {
      return `${where}, column "excluded": must be stretches of time, such as "1:05-1:30, 2:00-2:10"`;
    }
    return `${where}, column "${column}": ${quoted(typeof value === 'string' ? value : JSON.stringify(value))}: ${message}`;
  });
}

function repeatedIds(rows: readonly MetadataRow[]): string[] {
  const first = new Map<string, MetadataRow>();
  return rows.flatMap((row) => {
    if (row.referenceId === undefined) return [];
    const earlier = first.get(row.referenceId);
    if (earlier)
      return [`${row.where}, column "id": ${quoted(row.referenceId)} is the id of ${earlier.where} already`];
    first.set(row.referenceId, row);
    return [];
  });
}

function faultWords(path: string, faults: readonly string[]): string {
  const shown = faults.slice(0, MOST_FAULTS).map((fault) => `  ${fault}`);
  const more = faults.length > MOST_FAULTS ? [`  … and ${faults.length - MOST_FAULTS} more`] : [];
  return [`${safe(path)}: nothing was registered, because`, ...shown, ...more].join('\n');
}

const quoted = (text: string | undefined): string => `"${safe(text ?? '')}"`;

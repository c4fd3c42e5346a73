import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { messageOf } from '../../functions/core/errors.ts';
import type { ModelManifest } from '../../functions/core/model.ts';
import {
  type Hit,
  type QuantisedVectors,
  quantise,
  type SegmentVectors,
} from '../../functions/core/segments.ts';
import type { Catalogue } from '../../functions/ports/catalogue.ts';
import type { Log } from '../../functions/ports/log.ts';
import {
  type Block,
  decodeBlock,
  decodeRuns,
  encodeBlock,
  normaliseRows,
  ROWS_PER_BLOCK,
} from '../store/block.ts';
import type { Database, Row } from '../store/database.ts';
import { StoreError } from '../store/errors.ts';
import { type Neighbours, nearest, Shard, searchExactly } from '../store/shard.ts';

export interface CatalogueLimits {
  /** Up to so many rows are compared one by one (5 ms for 40 queries) before a graph is worth its building. */
  exactRows: number;
  /** A shard with so many rows takes no more (36 hours at two segments a second): it is never written again. */
  shardRows: number;
}

export const DEFAULT_LIMITS: CatalogueLimits = { exactRows: 4096, shardRows: 262_144 };

/** A growing shard is written when it grew by this share; what is newer is indexed again after a crash. */
const WRITE_GROWTH = 0.25;
/** A shard of which less than this is left is built anew. */
const LIVE_SHARE = 0.5;
/** Rows that are indexed before other work gets its turn (about 25 ms). */
const ROWS_PER_TURN = 256;

/** Consecutive live rows of one reference. */
interface LiveBlock {
  blockId: number;
  referenceId: string;
  firstRow: number;
  rows: number;
  segments: Uint32Array;
}

interface OpenShard {
  graph: Shard;
  /** Absent until it is written for the first time. */
  file?: string;
  /** Its size when it was last written. */
  written: number;
  /** How many of its rows were not removed. */
  live: number;
}

/** Rows that no shard covers, with their vectors side by side; `starts[i]` is where block `i` begins. */
interface Loose {
  blocks: LiveBlock[];
  starts: number[];
  rows: number[];
  vectors: Int8Array<ArrayBuffer>;
}

const NOTHING_LOOSE: Loose = { blocks: [], starts: [], rows: [], vectors: new Int8Array(0) };

/**
 * The catalogue of one model: int8 vectors in SQLite are the truth, HNSW graphs in files make them fast to search, and
 * can be made again from it at any time.
 *
 * Every row that was ever added has its own number, so nothing that is stored is rewritten when something is added: a
 * shard spans a range of rows, rows behind the last shard ("loose" ones) are compared exactly, and removed rows are
 * dropped from what a shard finds.
 */
export class LocalCatalogue implements Catalogue {
  readonly #db: Database;
  readonly #folder: string;
  readonly #model: Pick<ModelManifest, 'id' | 'dimension'>;
  readonly #writable: boolean;
  readonly #log: Pick<Log, 'info' | 'warn'>;
  readonly #limits: CatalogueLimits;
  /** Where an index is put together: beside where it lies, or, for those who may not write there, elsewhere. */
  readonly #scratch: string;

  /** What the fields below were made from; -1 = nothing yet. */
  #generation = -1;
  /** In the order of their rows. */
  #blocks: LiveBlock[] = [];
  #shards: OpenShard[] = [];
  #loose: Loose = NOTHING_LOOSE;

  #busy: Promise<void> = Promise.resolve();
  /** Rows added since the fields above were made. */
  #added = 0;

  constructor(
    db: Database,
    folder: string,
    model: Pick<ModelManifest, 'id' | 'dimension'>,
    options: { mode: 'read' | 'write'; log: Pick<Log, 'info' | 'warn'>; limits?: Partial<CatalogueLimits> },
  ) {
    this.#db = db;
    this.#folder = folder;
    this.#model = model;
    this.#writable = options.mode === 'write';
    this.#log = options.log;
    this.#scratch = this.#writable ? folder : tmpdir();
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  async add(referenceId: string, { segments, vectors }: SegmentVectors): Promise<void> {
    const { dimension } = this.#model;
    const unit = this.#unitRows(vectors, `Reference "${referenceId}"`);
    if (vectors.length !== segments.length * dimension) {
      throw new StoreError(
        'BAD_VECTORS',
        `Reference "${referenceId}" has ${segments.length} segments, but vectors for ${vectors.length / dimension}`,
      );
    }
    if (segments.length === 0) return;

    const added = inOrder({ segments, vectors: quantise(unit) }, dimension, referenceId);
    const rows = this.#db.transaction(() => {
      const { generation, nextRow } = this.#head() ?? this.#create();
      const stored = this.#blocksOf(referenceId);
      const { append, replace } = merge(stored, added, dimension);
      if (append.segments.length === 0) return 0;
      if (replace) this.#deleteBlocksOf(referenceId);
      this.#insertBlocks(referenceId, append, nextRow);
      this.#db.run(
        'UPDATE catalogue SET next_row = ?, generation = ? WHERE model_id = ?',
        nextRow + append.segments.length,
        generation + 1,
        this.#model.id,
      );
      return append.segments.length;
    });

    // Indexing keeps pace with adding, so that closing after a thousand references takes no minute.
    this.#added += rows;
    if (this.#added <= this.#limits.exactRows) return;
    this.#added = 0;
    await this.#exclusively(() => this.#follow()).catch((error: unknown) => {
      // What was added is stored. Whatever is wrong with the rest is for those to hear who search it.
      this.#log.warn('the catalogue cannot be indexed', { model: this.#model.id, error: messageOf(error) });
    });
  }

  async remove(referenceId: string): Promise<number> {
    return this.#db.transaction(() => {
      const removed = this.#deleteBlocksOf(referenceId);
      if (removed > 0) {
        this.#db.run('UPDATE catalogue SET generation = generation + 1 WHERE model_id = ?', this.#model.id);
      }
      return removed;
    });
  }

  async search(queries: Float32Array, k: number): Promise<Hit[][]> {
    const unit = this.#unitRows(queries, 'The queries');
    const count = unit.length / this.#model.dimension;
    if (count === 0 || k < 1) return Array.from({ length: count }, () => []);

    return this.#exclusively(async () => {
      await this.#follow();
      const lists = this.#shards.map((shard) => this.#searchShard(shard, unit, k));
      if (this.#loose.rows.length > 0) lists.push(this.#searchLoose(unit, k));
      return Array.from({ length: count }, (_, query) =>
        this.#hits(
          nearest(
            lists.map((list) => list[query]!),
            k,
          ),
        ),
      );
    });
  }

  async vectorsOf(referenceId: string, from: number, to: number): Promise<QuantisedVectors> {
    const { segments, vectors } = this.#blocksOf(referenceId);
    const { dimension } = this.#model;
    const start = segments.findIndex((segment) => segment >= from);
    const end = segments.findIndex((segment) => segment >= to);
    const first = start === -1 ? segments.length : start;
    const last = Math.max(first, end === -1 ? segments.length : end);
    return {
      segments: segments.subarray(first, last),
      vectors: vectors.subarray(first * dimension, last * dimension),
    };
  }

  async stats(): Promise<{ segments: number; references: number; generation: number }> {
    const row = this.#db.get(
      `SELECT coalesce(sum(rows), 0) AS segments, count(DISTINCT reference_id) AS "references",
         coalesce((SELECT generation FROM catalogue WHERE model_id = ?1), 0) AS generation
       FROM block WHERE model_id = ?1`,
      this.#model.id,
    );
    return { ...row } as { segments: number; references: number; generation: number };
  }

  /** Writes down what was indexed since the last time, if making it again would be felt. */
  async close(): Promise<void> {
    if (!this.#writable) return;
    await this.#exclusively(async () => {
      // Many small registrations must not leave a day of indexing to the first search.
      if (this.#countUnindexed() > this.#limits.exactRows) await this.#follow();
      for (const shard of this.#shards) {
        if (shard.graph.size - shard.written > this.#limits.exactRows) this.#write(shard);
      }
      if (this.#shards.length > 0) this.#removeForeignFiles();
    });
  }

  // --- Searching ---

  #searchLoose(queries: Float32Array, k: number): Neighbours[] {
    const { rows, vectors } = this.#loose;
    return searchExactly(vectors, quantise(queries), k, this.#model.dimension).map((found) => ({
      rows: found.rows.map((i) => rows[i]!),
      similarities: found.similarities,
    }));
  }

  /** What a shard finds among the live rows: asks for more until removed rows no longer crowd out live ones. */
  #searchShard(shard: OpenShard, queries: Float32Array, k: number): Neighbours[] {
    const { graph, live } = shard;
    for (let wanted = live === graph.size ? k : 2 * k; ; wanted *= 4) {
      const found = graph.search(queries, wanted).map((neighbours) => this.#onlyLive(neighbours));
      if (wanted >= graph.size || found.every(({ rows }) => rows.length >= Math.min(k, live))) return found;
    }
  }

  #onlyLive({ rows, similarities }: Neighbours): Neighbours {
    const isLive = rows.map((row) => this.#blockAt(row) !== undefined);
    return { rows: rows.filter((_, i) => isLive[i]), similarities: similarities.filter((_, i) => isLive[i]) };
  }

  #hits({ rows, similarities }: Neighbours): Hit[] {
    return rows.map((row, i) => {
      const { referenceId, segments, firstRow } = this.#blockAt(row)!;
      return { referenceId, segment: segments[row - firstRow]!, similarity: similarities[i]! };
    });
  }

  #blockAt(row: number): LiveBlock | undefined {
    const after = firstIndex(this.#blocks, (block) => block.firstRow > row);
    const block = this.#blocks[after - 1];
    return block && row < block.firstRow + block.rows ? block : undefined;
  }

  // --- Following the truth in SQLite ---

  /** One at a time: indexing gives other work its turn, and nobody may see it half done. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(work);
    this.#busy = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  async #follow(): Promise<void> {
    const head = this.#head();
    if (!head || head.generation === this.#generation) return;
    if (head.dimension !== this.#model.dimension) throw this.#wrongDimension(head.dimension);

    const isFirst = this.#generation === -1;
    this.#generation = this.#db.snapshot(() => {
      const generation = this.#head()!.generation;
      this.#blocks = this.#readBlocks();
      if (isFirst || !this.#writable) this.#openShards();
      this.#countLive();
      this.#gatherLoose();
      return generation;
    });
    if (!this.#writable) return;

    if (isFirst) this.#removeForeignFiles();
    this.#dropHollowShards();
    if (this.#loose.rows.length > this.#limits.exactRows) await this.#indexLoose();
  }

  /** Rows behind the last shard that is open or on disk. */
  #countUnindexed(): number {
    const { id } = this.#model;
    const open = this.#shards.at(-1)?.graph.endRow ?? 0;
    const row = this.#db.get(
      `SELECT coalesce(sum(rows), 0) AS n FROM block WHERE model_id = ?1 AND first_row >= max(?2,
         coalesce((SELECT max(end_row) FROM shard WHERE model_id = ?1), 0))`,
      id,
      open,
    )!;
    return Number(row.n);
  }

  #readBlocks(): LiveBlock[] {
    const known = new Map(this.#blocks.map((block) => [block.blockId, block]));
    return this.#db
      .all(
        `SELECT block_id, reference_id, first_row, rows, runs FROM block WHERE model_id = ? ORDER BY first_row`,
        this.#model.id,
      )
      .map(
        (row) =>
          known.get(Number(row.block_id)) ?? {
            blockId: Number(row.block_id),
            referenceId: String(row.reference_id),
            firstRow: Number(row.first_row),
            rows: Number(row.rows),
            segments: decodeRuns(row.runs as Uint8Array),
          },
      );
  }

  /** Opens the shards that the store names, and keeps those that are open already. */
  #openShards(): void {
    const open = new Map(this.#shards.map((shard) => [shard.file, shard]));
    const rows = this.#db.all('SELECT * FROM shard WHERE model_id = ? ORDER BY first_row', this.#model.id);
    this.#shards = rows.flatMap((row) => open.get(String(row.file)) ?? this.#openShard(row) ?? []);
  }

  /** A shard that is missing or damaged costs time, not matches: its rows are loose until they are indexed again. */
  #openShard(row: Row): OpenShard | undefined {
    const file = String(row.file);
    try {
      const bytes = readFileSync(join(this.#folder, file));
      if (createHash('sha256').update(bytes).digest('hex') !== row.sha256)
        throw new Error('its content has changed');
      const graph = Shard.thaw(bytes, this.#model.dimension, this.#scratch, (firstRow, rows) =>
        this.#vectorsAt(firstRow, rows),
      );
      return { graph, file, written: graph.size, live: 0 };
    } catch (error) {
      if (error instanceof StoreError) throw error;
      this.#log.warn(
        this.#writable
          ? 'an index file is missing or damaged; building it again from the database'
          : 'an index file is missing or damaged; searching without it until the store is opened for writing',
        { file: join(this.#folder, file), error: messageOf(error) },
      );
      return undefined;
    }
  }

  #countLive(): void {
    for (const shard of this.#shards) {
      shard.live = this.#blocksIn(shard.graph).reduce((sum, block) => sum + block.rows, 0);
    }
  }

  #gatherLoose(): void {
    const { dimension } = this.#model;
    const covered = new Set(this.#shards.flatMap(({ graph }) => this.#blocksIn(graph)));
    const blocks = this.#blocks.filter((block) => !covered.has(block));
    const before = new Map(this.#loose.blocks.map((block, i) => [block, this.#loose.starts[i]!]));

    const rows: number[] = [];
    const starts: number[] = [];
    const vectors = new Int8Array(blocks.reduce((sum, block) => sum + block.rows, 0) * dimension);
    for (const block of blocks) {
      const start = before.get(block);
      starts.push(rows.length);
      vectors.set(
        start === undefined
          ? this.#readBlock(block).vectors
          : this.#loose.vectors.subarray(start * dimension, (start + block.rows) * dimension),
        rows.length * dimension,
      );
      for (let i = 0; i < block.rows; i++) rows.push(block.firstRow + i);
    }
    this.#loose = { blocks, starts, rows, vectors };
  }

  #blocksIn({ firstRow, endRow }: Shard): LiveBlock[] {
    const start = firstIndex(this.#blocks, (block) => block.firstRow >= firstRow);
    const end = firstIndex(this.#blocks, (block) => block.firstRow >= endRow);
    return this.#blocks.slice(start, end);
  }

  /** Vectors of consecutive rows, zeros where a row was removed. */
  #vectorsAt(firstRow: number, rows: number): Int8Array {
    const { dimension } = this.#model;
    const vectors = new Int8Array(rows * dimension);
    const start = firstIndex(this.#blocks, (block) => block.firstRow >= firstRow);
    for (const block of this.#blocks.slice(start)) {
      if (block.firstRow >= firstRow + rows) break;
      vectors.set(this.#readBlock(block).vectors, (block.firstRow - firstRow) * dimension);
    }
    return vectors;
  }

  // --- Keeping the graphs ---

  /** Puts the loose rows into the last shard that has room, or into new ones, and writes those that grew enough. */
  async #indexLoose(): Promise<void> {
    const { dimension } = this.#model;
    const { blocks, starts, vectors } = this.#loose;
    for (const [i, block] of blocks.entries()) {
      const shard = this.#shardFor(block);
      for (let row = 0; row < block.rows; row += ROWS_PER_TURN) {
        const end = Math.min(row + ROWS_PER_TURN, block.rows);
        const start = starts[i]!;
        shard.graph.add(
          block.firstRow + row,
          vectors.subarray((start + row) * dimension, (start + end) * dimension),
        );
        await nextTurn();
      }
      shard.live += block.rows;
    }
    this.#loose = NOTHING_LOOSE;
    for (const shard of this.#shards) {
      const { size } = shard.graph;
      const isFull = size >= this.#limits.shardRows && size > shard.written;
      if (isFull || size > shard.written * (1 + WRITE_GROWTH)) this.#write(shard);
    }
  }

  #shardFor(block: LiveBlock): OpenShard {
    const next = firstIndex(this.#shards, ({ graph }) => graph.firstRow > block.firstRow);
    const before = this.#shards[next - 1];
    if (before && before.graph.size < this.#limits.shardRows) return before;
    const shard = { graph: new Shard(this.#model.dimension, block.firstRow), written: 0, live: 0 };
    this.#shards.splice(next, 0, shard);
    return shard;
  }

  /** Writes beside, makes it durable, and only then lets it count. What fails here costs the next start some time. */
  #write(shard: OpenShard): void {
    const { graph } = shard;
    const file = `${graph.firstRow}-${graph.endRow}.graph`;
    shard.written = graph.size;
    try {
      mkdirSync(this.#folder, { recursive: true });
      const bytes = graph.freeze(this.#scratch);
      const path = join(this.#folder, file);
      writeFileSync(`${path}.new`, bytes, { flush: true });
      renameSync(`${path}.new`, path);
      flushFolder(this.#folder);
      this.#db.run(
        'INSERT OR REPLACE INTO shard (model_id, first_row, end_row, file, sha256) VALUES (?, ?, ?, ?, ?)',
        this.#model.id,
        graph.firstRow,
        graph.endRow,
        file,
        createHash('sha256').update(bytes).digest('hex'),
      );
      // The file that it replaces stays until the end: a reader may be about to open it.
      shard.file = file;
    } catch (error) {
      this.#log.warn(
        'the index could not be written; nothing is lost, but the next start has to build it again',
        {
          file: join(this.#folder, file),
          error: messageOf(error),
        },
      );
    }
  }

  #dropHollowShards(): void {
    const hollow = this.#shards.filter(({ graph, live }) => live < graph.size * LIVE_SHARE);
    if (hollow.length === 0) return;
    for (const { graph, file } of hollow) {
      this.#db.run('DELETE FROM shard WHERE model_id = ? AND first_row = ?', this.#model.id, graph.firstRow);
      if (file) rmSync(join(this.#folder, file), { force: true });
    }
    this.#shards = this.#shards.filter((shard) => !hollow.includes(shard));
    this.#gatherLoose();
  }

  /** Files that no shard needs: replaced ones, damaged ones, and what a killed process left half-written. */
  #removeForeignFiles(): void {
    const ours = new Set(this.#shards.map(({ file }) => file));
    for (const file of filesIn(this.#folder)) {
      if (!ours.has(file)) rmSync(join(this.#folder, file), { recursive: true, force: true });
    }
    const rows = this.#db.all('SELECT first_row, file FROM shard WHERE model_id = ?', this.#model.id);
    for (const row of rows) {
      if (ours.has(String(row.file))) continue;
      this.#db.run(
        'DELETE FROM shard WHERE model_id = ? AND first_row = ?',
        this.#model.id,
        Number(row.first_row),
      );
    }
  }

  // --- Rows and blocks ---

  #head(): { dimension: number; generation: number; nextRow: number } | undefined {
    const row = this.#db.get(
      'SELECT dimension, generation, next_row AS nextRow FROM catalogue WHERE model_id = ?',
      this.#model.id,
    );
    return row as { dimension: number; generation: number; nextRow: number } | undefined;
  }

  #create() {
    const { id, dimension } = this.#model;
    this.#db.run(
      'INSERT INTO catalogue (model_id, dimension, next_row, generation) VALUES (?, ?, 0, 0)',
      id,
      dimension,
    );
    return this.#head()!;
  }

  #insertBlocks(referenceId: string, { segments, vectors }: Block, firstRow: number): void {
    const { id, dimension } = this.#model;
    for (let row = 0; row < segments.length; row += ROWS_PER_BLOCK) {
      const part = {
        segments: segments.slice(row, row + ROWS_PER_BLOCK),
        vectors: vectors.slice(row * dimension, (row + ROWS_PER_BLOCK) * dimension),
      };
      const stored = encodeBlock(part);
      this.#db.run(
        `INSERT INTO block (model_id, reference_id, first_row, rows, runs, crc, vectors) VALUES (?, ?, ?, ?, ?, ?, ?)`,
        id,
        referenceId,
        firstRow + row,
        part.segments.length,
        stored.runs,
        stored.crc,
        stored.vectors,
      );
    }
  }

  #deleteBlocksOf(referenceId: string): number {
    const { id } = this.#model;
    const row = this.#db.get(
      'SELECT coalesce(sum(rows), 0) AS n FROM block WHERE model_id = ? AND reference_id = ?',
      id,
      referenceId,
    )!;
    this.#db.run('DELETE FROM block WHERE model_id = ? AND reference_id = ?', id, referenceId);
    return Number(row.n);
  }

  /** All that is stored of a reference, in the order of its segments. */
  #blocksOf(referenceId: string): Block {
    const rows = this.#db.all(
      'SELECT runs, crc, vectors FROM block WHERE model_id = ? AND reference_id = ? ORDER BY first_row',
      this.#model.id,
      referenceId,
    );
    const blocks = rows.map((row) => this.#decode(row, referenceId));
    return inOrder(concatenate(blocks), this.#model.dimension, referenceId);
  }

  #readBlock({ blockId, referenceId }: LiveBlock): Block {
    const row = this.#db.get('SELECT runs, crc, vectors FROM block WHERE block_id = ?', blockId)!;
    return this.#decode(row, referenceId);
  }

  #decode(row: Row, referenceId: string): Block {
    const stored = {
      runs: row.runs as Uint8Array,
      crc: Number(row.crc),
      vectors: row.vectors as Uint8Array,
    };
    return decodeBlock(stored, this.#model.dimension, `reference "${referenceId}" in ${this.#db.path}`);
  }

  /** The rows scaled to length 1. */
  #unitRows(vectors: Float32Array, what: string): Float32Array {
    const { dimension } = this.#model;
    const stored = this.#head()?.dimension ?? dimension;
    if (stored !== dimension) throw this.#wrongDimension(stored);
    if (vectors.length % dimension !== 0) {
      throw new StoreError('BAD_VECTORS', `${what}: ${vectors.length} values are no rows of ${dimension}`);
    }
    const unit = vectors.slice();
    const fault = normaliseRows(unit, dimension);
    if (fault !== undefined) {
      throw new StoreError(
        'BAD_VECTORS',
        `${what}: row ${fault} is zero or not a number, so it has no direction`,
      );
    }
    return unit;
  }

  #wrongDimension(stored: number): StoreError {
    const { id, dimension } = this.#model;
    return new StoreError(
      'WRONG_DIMENSION',
      `The catalogue of model "${id}" holds vectors of ${stored} values, but the model gives ${dimension}: ` +
        'a changed model needs an id of its own',
    );
  }
}

/** What of `added` is not stored yet; or, where it contradicts what is stored, all of both, to replace it. */
function merge(stored: Block, added: Block, dimension: number): { append: Block; replace: boolean } {
  const rowOf = new Map(Array.from(stored.segments, (segment, row) => [segment, row]));
  const vectorOf = (block: Block, row: number) =>
    block.vectors.subarray(row * dimension, (row + 1) * dimension);
  const isNew = (segment: number) => !rowOf.has(segment);
  const agrees = added.segments.every((segment, row) => {
    const before = rowOf.get(segment);
    if (before === undefined) return true;
    const vector = vectorOf(stored, before);
    return vectorOf(added, row).every((value, i) => value === vector[i]);
  });
  if (agrees) return { append: select(added, dimension, isNew), replace: false };

  const replaced = new Set(added.segments);
  const kept = select(stored, dimension, (segment) => !replaced.has(segment));
  return { append: inOrder(concatenate([kept, added]), dimension, ''), replace: true };
}

function select(block: Block, dimension: number, wanted: (segment: number) => boolean): Block {
  const rows = Array.from(block.segments.keys()).filter((row) => wanted(block.segments[row]!));
  return pick(block, dimension, rows);
}

/** @throws StoreError when a segment comes twice */
function inOrder(block: Block, dimension: number, referenceId: string): Block {
  const { segments } = block;
  if (segments.every((segment, i) => i === 0 || segments[i - 1]! < segment)) return block;
  const rows = Array.from(segments.keys()).sort((a, b) => segments[a]! - segments[b]!);
  const sorted = pick(block, dimension, rows);
  const double = sorted.segments.find((segment, i) => i > 0 && sorted.segments[i - 1] === segment);
  if (double !== undefined) {
    throw new StoreError('BAD_VECTORS', `Segment ${double} of reference "${referenceId}" is given twice`);
  }
  return sorted;
}

function pick({ segments, vectors }: Block, dimension: number, rows: readonly number[]): Block {
  const picked = new Int8Array(rows.length * dimension);
  for (const [i, row] of rows.entries()) {
    picked.set(vectors.subarray(row * dimension, (row + 1) * dimension), i * dimension);
  }
  return { segments: Uint32Array.from(rows, (row) => segments[row]!), vectors: picked };
}

function concatenate(blocks: readonly Block[]): Block {
  if (blocks.length === 1) return blocks[0]!;
  const segments = new Uint32Array(blocks.reduce((sum, block) => sum + block.segments.length, 0));
  const vectors = new Int8Array(blocks.reduce((sum, block) => sum + block.vectors.length, 0));
  let row = 0;
  let offset = 0;
  for (const block of blocks) {
    segments.set(block.segments, row);
    vectors.set(block.vectors, offset);
    row += block.segments.length;
    offset += block.vectors.length;
  }
  return { segments, vectors };
}

/** The first index from which on `holds` is true, by bisection. */
function firstIndex<T>(sorted: readonly T[], holds: (item: T) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(sorted[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Makes a rename durable. */
function flushFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

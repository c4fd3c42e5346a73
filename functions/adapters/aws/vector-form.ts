/** How vectors are held: `none` as they are, `fp16` in half the memory (faiss alone), `byte` in a quarter. */
export type Encoder = 'none' | 'fp16' | 'byte';

/** What 1 becomes when vectors are held as bytes. */
const BYTE = 127;

/**
 * Bytes have a field of their own, so that whoever asks an index that holds vectors in the other way is refused. On the
 * wrong scale everything would look different from everything, and every upload clear.
 */
export const VECTOR_FIELDS = { float: 'vector', byte: 'vectorBytes' } as const;

/** How vectors of one encoder are written, asked for and read again. */
export class VectorForm {
  readonly #encoder: Encoder;
  readonly #isByte: boolean;

  constructor(encoder: Encoder) {
    this.#encoder = encoder;
    this.#isByte = encoder === 'byte';
  }

  get field(): (typeof VECTOR_FIELDS)[keyof typeof VECTOR_FIELDS] {
    return VECTOR_FIELDS[this.#isByte ? 'byte' : 'float'];
  }

  /** The field's mapping. Rows have length 1, so the inner product is the cosine, without a norm to compute for every pair. */
  mapping(dimension: number, engine: 'faiss' | 'lucene') {
    const fp16 = { encoder: { name: 'sq', parameters: { type: 'fp16' } } };
    const parameters = { m: 16, ef_construction: 128, ...(this.#encoder === 'fp16' && fp16) };
    return {
      type: 'knn_vector' as const,
      dimension,
      data_type: this.#isByte ? 'byte' : 'float',
      method: { name: 'hnsw', space_type: 'innerproduct', engine, parameters },
    };
  }

  /** Bytes stand for `[-1, 1]`; of floats, seven decimals are what float32 holds near 1, and more would double the size. */
  json(vector: Float32Array): string {
    const decimals = this.#isByte ? BYTE : 1e7;
    const unit = this.#isByte ? 1 : 1e7;
    return `[${Array.from(vector, (value) => Math.round(value * decimals) / unit).join(',')}]`;
  }

  /** A vector as it is stored to be read again: int8, or float32 in little-endian order; base64. */
  packed(vector: Float32Array): string {
    const values = this.#isByte ? Int8Array.from(vector, (value) => Math.round(value * BYTE)) : vector;
    return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
  }

  /** Rows that were packed, one after the other. */
  unpacked(rows: readonly string[], dimension: number): Float32Array {
    // A loop: Float32Array.from with a function takes ten times as long, and a scan reads tens of thousands of rows.
    const vectors = new Float32Array(rows.length * dimension);
    for (const [row, packed] of rows.entries()) {
      const bytes = new Uint8Array(Buffer.from(packed, 'base64'));
      const values = this.#isByte ? new Int8Array(bytes.buffer) : new Float32Array(bytes.buffer);
      const one = this.#isByte ? BYTE : 1;
      for (let i = 0; i < dimension; i++) vectors[row * dimension + i] = values[i]! / one;
    }
    return vectors;
  }

  /** How the k-NN plugin turns an inner product into a score, backwards. */
  similarityOf(score: number): number {
    const product = score >= 1 ? score - 1 : 1 - 1 / score;
    return this.#isByte ? product / BYTE ** 2 : product;
  }
}

import { RefrainError } from '../../functions/core/errors.ts';

/**
 * The store folder cannot be used as asked. Codes: STORE_NOT_FOUND, STORE_NOT_A_FOLDER, STORE_NOT_WRITABLE,
 * STORE_UNREADABLE, STORE_BUSY, STORE_TOO_NEW, STORE_TOO_OLD, STORE_DAMAGED, STORE_FULL, STORE_IO, STORE_READ_ONLY,
 * STORE_CLOSED, DAMAGED_RECORD, BAD_CURSOR, BAD_MESSAGE, BAD_VECTORS, WRONG_DIMENSION, OBJECT_UNREADABLE.
 */
export class StoreError extends RefrainError {}

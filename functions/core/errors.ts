/**
 * The faults that the domain knows. Each has a stable `code` for machines and a message that says what, where and
 * what to do. Anything else that is thrown is a bug or an outage, and is retried by the queue.
 */
export class RefrainError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The file cannot be turned into audio, and a retry would not change that. Leads to the verdict `rejected`. */
export class RejectedAudioError extends RefrainError {}

/** The object (or this version of it) is gone. */
export class ObjectNotFoundError extends RefrainError {
  constructor(what: string, options?: ErrorOptions) {
    super('OBJECT_NOT_FOUND', `${what} does not exist (any more)`, options);
  }
}

/** A conditional write lost: somebody else changed the record first. */
export class ConflictError extends RefrainError {
  constructor(message: string, options?: ErrorOptions) {
    super('CONFLICT', message, options);
  }
}

/** The model folder is damaged, foreign or inconsistent. */
export class ModelError extends RefrainError {
  constructor(message: string, options?: ErrorOptions) {
    super('MODEL', message, options);
  }
}

/** What was thrown, in words. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

import { errors } from '@opensearch-project/opensearch';
import { RefrainError } from '../../core/errors.ts';

/** OpenSearch refused a request, or could not be reached. */
export class CatalogueError extends RefrainError {
  /** HTTP status of the answer, or of the item in it; 0 where no answer came. */
  readonly status: number;
  /** OpenSearch's own name of the fault, such as `index_not_found_exception`. */
  readonly type: string;

  constructor(message: string, { status = 0, type = '', cause }: Fault = {}) {
    super('CATALOGUE', message, { cause });
    this.status = status;
    this.type = type;
  }
}

interface Fault {
  status?: number;
  type?: string;
  cause?: unknown;
}

/** Too busy, or away: another try may help. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof CatalogueError)) return false;
  return error.status === 0 || error.status === 429 || (error.status >= 500 && error.status !== 501);
}

export function translated(error: unknown): unknown {
  if (error instanceof errors.ResponseError) {
    const status = error.statusCode ?? 0;
    return refusal('OpenSearch answered', status, error.body?.error ?? error.message, error);
  }
  if (error instanceof errors.OpenSearchClientError) {
    return new CatalogueError(`OpenSearch cannot be reached: ${error.message}`, { cause: error });
  }
  return error;
}

/** Throws for the items that failed: with the status of a lasting fault, if there is one among them. */
export function checkItems(failed: readonly { status: number; error: unknown }[]): void {
  if (failed.length === 0) return;
  const failures = failed.map(({ status, error }) =>
    refusal(`OpenSearch refused ${failed.length} items, first:`, status, error),
  );
  throw failures.find((failure) => !isTransient(failure)) ?? failures[0]!;
}

/** What OpenSearch says of a fault. Where shards failed, only their own faults say why. */
interface Reason {
  type?: string;
  reason?: string;
  caused_by?: Reason;
  failed_shards?: { reason: Reason }[];
}

/** @param fault a `Reason`, or text */
function refusal(what: string, status: number, fault: unknown, cause?: unknown): CatalogueError {
  const { type = '', reason = String(fault), ...more } = fault as Reason;
  const deeper = more.failed_shards?.[0]?.reason ?? more.caused_by;
  const why = deeper ? ` (${deeper.type}: ${deeper.reason})` : '';
  const hint =
    type === 'index_not_found_exception'
      ? '; the catalogue was never set up, or was deleted: set it up and register again'
      : '';
  return new CatalogueError(`${what} ${status} ${type}: ${reason}${why}${hint}`, { status, type, cause });
}

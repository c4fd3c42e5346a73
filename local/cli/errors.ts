import { messageOf, RefrainError } from '../../functions/core/errors.ts';
import { safe } from './render/text.ts';

/** What was asked for makes no sense, and nothing was done. */
export class UsageError extends RefrainError {
  constructor(message: string, options?: ErrorOptions) {
    super('USAGE', message, options);
  }
}

const SYSTEM: Record<string, string> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is not a folder',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'too many links that lead to each other',
  ENOSPC: 'the disk is full',
  EMFILE: 'too many files are open',
};

/** One sentence for a person: what happened and, where known, what to do. */
export function sentenceOf(error: unknown): string {
  if (error instanceof RefrainError) return safeLines(error.message);
  const { code, path } = (error ?? {}) as { code?: unknown; path?: unknown };
  const known = typeof code === 'string' ? SYSTEM[code] : undefined;
  if (known) return typeof path === 'string' ? `${safe(path)}: ${known}` : known;
  const aws = awsSentence(error);
  if (aws !== undefined) return aws;
  return `unexpected: ${safeLines(messageOf(error))} (this is a fault of Refrain; REFRAIN_DEBUG=1 shows where)`;
}

/** What the AWS SDK throws, told by its shape: it is loaded only where it is needed. */
function awsSentence(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { name, message } = error;
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') {
    return (
      'there are no AWS credentials: log in (aws sso login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and ' +
      `AWS_SECRET_ACCESS_KEY (the SDK says: ${safe(message)})`
    );
  }
  const { code, $metadata } = error as { code?: unknown; $metadata?: { httpStatusCode?: number } };
  if ($metadata === undefined) return undefined;
  if ($metadata.httpStatusCode !== undefined) return `AWS refused it: ${safe(message)} (${name})`;
  return `AWS cannot be reached: ${safe(message || String(code ?? name))}`;
}

/** Our own messages may have several lines, but bring foreign text along. */
const safeLines = (text: string): string => text.split('\n').map(safe).join('\n');

/** A stable code for machines. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : 'UNEXPECTED';
}

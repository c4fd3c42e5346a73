import type { TimeSpan } from '../../functions/core/span.ts';
import { UsageError } from './errors.ts';

const TIME = /^(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)s?$/;

/**
 * Reads a stretch of time: `1:05-1:30`, `65-90`, `65s-90s`, `1:02:03.5-1:03:00`.
 * @throws UsageError
 */
export function parseTimeSpan(text: string): TimeSpan {
  const [from, to, ...more] = text.split(/[-–]/).map((part) => parseTime(part.trim()));
  if (from === undefined || to === undefined || more.length > 0) {
    throw new UsageError(
      `"${text}" is no stretch of time; write FROM-TO, such as 1:05-1:30 or 65-90 (seconds)`,
    );
  }
  if (to <= from) throw new UsageError(`"${text}" ends before it begins`);
  return { startMs: from, endMs: to };
}

function parseTime(text: string): number | undefined {
  const match = TIME.exec(text);
  if (!match) return undefined;
  const [hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
  ];
  if (match[2] !== undefined && seconds >= 60) return undefined;
  if (match[1] !== undefined && minutes >= 60) return undefined;
  return Math.round((hours * 3600 + minutes * 60 + seconds) * 1000);
}

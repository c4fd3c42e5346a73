import type { Reason } from './scan.ts';
import type { Listened } from './verdict.ts';

/** Less audible audio than this identifies nothing, and would match too much. */
const MINIMUM_AUDIBLE_MS = 5_000;
/** More damage than this, and the catalogue would promise what it does not hold. */
const TOLERATED_DAMAGE = 0.1;

/** Why a recording must not enter the catalogue; empty when it may. */
export function refusalReasons({
  durationMs,
  searchedMs,
  unsearched,
  tooShort,
  brokeOff,
}: Listened): Reason[] {
  const reasons: Reason[] = [];
  if (brokeOff) reasons.push(brokeOff);
  const damagedMs = unsearched
    .filter(({ why }) => why === 'undecodable')
    .reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);
  if (damagedMs > durationMs * TOLERATED_DAMAGE) {
    reasons.push({
      code: 'DAMAGED',
      message: `${(damagedMs / 1000).toFixed(1)} s of ${(durationMs / 1000).toFixed(1)} s cannot be decoded`,
    });
  }
  if (reasons.length === 0 && searchedMs < MINIMUM_AUDIBLE_MS) {
    const silent = !tooShort && searchedMs < durationMs / 2;
    reasons.push({
      code: silent ? 'SILENT' : 'TOO_SHORT',
      message:
        `only ${(searchedMs / 1000).toFixed(1)} s of ${(durationMs / 1000).toFixed(1)} s are audible; ` +
        `a reference needs ${MINIMUM_AUDIBLE_MS / 1000} s`,
    });
  }
  return reasons;
}

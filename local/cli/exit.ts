import type { Verdict } from '../../functions/core/scan.ts';

/** What the shell is told. 130 and 143 (stopped by Ctrl-C and by SIGTERM) come on top. */
export const EXIT = {
  /** All done; of a scan: every file is clear. */
  ok: 0,
  /** Something failed, was refused, rejected or not searched to its end, and nothing was flagged. */
  error: 1,
  /** The command line (or a metadata or policy file) is wrong, and nothing was done. */
  usage: 2,
  /** At least one file is flagged. */
  flagged: 3,
} as const;

/** `flagged` outweighs every trouble, and `clear` is said only when every file is. */
export function exitCodeOf(verdicts: Iterable<Verdict>): number {
  const said = new Set(verdicts);
  if (said.has('flagged')) return EXIT.flagged;
  return said.has('rejected') || said.has('incomplete') ? EXIT.error : EXIT.ok;
}

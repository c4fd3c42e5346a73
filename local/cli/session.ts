import type { Command } from 'commander';
import type { StackAddress } from '../../functions/adapters/aws/deployment.ts';
import { sentenceOf, UsageError } from './errors.ts';
import { EXIT } from './exit.ts';
import { Terminal } from './terminal.ts';

/** What every verb has at hand. */
export interface Session {
  terminal: Terminal;
  storeDir: string;
  /** The deployment in AWS that stands in for the store. */
  stack?: StackAddress;
  /** Aborted by Ctrl-C (SIGINT), SIGTERM and SIGHUP. */
  signal: AbortSignal;
}

/** Does its work and resolves to the exit code; nothing is 0. */
export type Verb<Args extends unknown[]> = (session: Session, ...args: Args) => Promise<number | undefined>;

const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;
/** A terminal sends Ctrl-C to a whole family of processes, which pass it on: within this time it is one Ctrl-C. */
const SAME_SIGNAL_MS = 500;

/**
 * Wraps a verb into an action of commander: gives it a session, turns what it throws into one sentence on stderr, and
 * leaves the exit code in `process.exitCode`.
 */
export function action<Args extends unknown[]>(verb: Verb<Args>) {
  return async (...all: unknown[]): Promise<void> => {
    const command = all.pop() as Command;
    all.pop(); // the command's own options; those that stand before the verb count as well
    const options = command.optsWithGlobals<GlobalOptions>();
    const terminal = new Terminal(options.jsonl === true);
    const interrupt = listenForInterrupt();
    const session: Session = { terminal, storeDir: options.store, signal: interrupt.signal };
    try {
      if (options.stack !== undefined) session.stack = stackAddress(options);
      if (options.store.trim() === '') throw new UsageError('--store (or REFRAIN_STORE) must name a folder');
      process.exitCode = (await verb(session, ...([...all, options] as unknown as Args))) ?? EXIT.ok;
    } catch (error) {
      process.exitCode = explain(error, terminal, interrupt.received());
    } finally {
      terminal.progress.clear();
      interrupt.stop();
    }
  };
}

interface GlobalOptions {
  store: string;
  jsonl?: boolean;
  stack?: string;
  region?: string;
  profile?: string;
}

/** What is not said here, the AWS SDK finds by itself: region, credentials, and another endpoint than AWS's own. */
function stackAddress({ stack = '', region, profile }: GlobalOptions): StackAddress {
  if (stack.trim() === '') throw new UsageError('--stack (or REFRAIN_STACK) must name a deployment');
  const { AWS_ENDPOINT_URL: endpoint, AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  // The SDK for JavaScript alone does not know the second of these variables.
  const where = region ?? (AWS_REGION || AWS_DEFAULT_REGION);
  return {
    stack,
    ...(where && { region: where }),
    ...(profile && { profile }),
    ...(endpoint && { endpoint }),
  };
}

/** Mistakes of the command line, by their codes: nothing was done. */
const USAGE = new Set<unknown>(['USAGE', 'STACK_NOT_FOUND', 'REGION_UNKNOWN']);

function explain(error: unknown, terminal: Terminal, received: keyof typeof SIGNALS | undefined): number {
  if (process.env.REFRAIN_DEBUG) console.error(error);
  if (received) {
    terminal.note('stopped. What was finished is kept; the same command goes on from there.');
    return 128 + SIGNALS[received];
  }
  terminal.error(sentenceOf(error));
  return USAGE.has((error as { code?: unknown })?.code) ? EXIT.usage : EXIT.error;
}

/** The first signal asks the work to stop; a second one ends the process, which the store survives. */
function listenForInterrupt() {
  const controller = new AbortController();
  let received: keyof typeof SIGNALS | undefined;
  let receivedAt = 0;
  const onSignal = (name: keyof typeof SIGNALS) => {
    if (received && Date.now() - receivedAt > SAME_SIGNAL_MS) process.exit(128 + SIGNALS[name]);
    if (!received) receivedAt = Date.now();
    received ??= name;
    controller.abort();
  };
  const names = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];
  for (const name of names) process.on(name, onSignal);
  return {
    signal: controller.signal,
    received: () => received,
    stop: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}

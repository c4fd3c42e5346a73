import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Page, PageRequest } from '../../../functions/ports/stores.ts';
import { UsageError } from '../errors.ts';
import { count, safe } from '../render/text.ts';
import { action, type Session, type Verb } from '../session.ts';

/** As many as a person reads; machines get all of them. */
const SHOWN_TO_PEOPLE = 50;

export const limitOption = (): Option =>
  new Option('--limit <n>', `at most so many (default: ${SHOWN_TO_PEOPLE}, with --jsonl all)`).argParser(
    (text) => {
      if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
      throw new InvalidArgumentError('It must be a whole number from 1 on.');
    },
  );

/**
 * The first records of a paged list, as many as were asked for. Says on stderr what is left, and which records cannot
 * be read.
 */
export async function firstOf<T>(
  list: (page: PageRequest) => Promise<Page<T>>,
  { limit }: { limit?: number },
  { terminal }: Session,
): Promise<T[]> {
  const most = limit ?? (terminal.jsonl ? Number.POSITIVE_INFINITY : SHOWN_TO_PEOPLE);
  const records: T[] = [];
  for (let after: string | undefined; ; ) {
    const page = await list({
      limit: Math.min(1000, most - records.length),
      ...(after !== undefined && { after }),
    });
    records.push(...page.items);
    for (const { message } of page.damaged ?? []) terminal.note(safe(message));
    after = page.next;
    if (after === undefined) return records;
    if (records.length >= most) {
      if (limit === undefined)
        terminal.note(`these are the first ${count(records.length, 'one')}; --limit shows more`);
      return records;
    }
  }
}

/**
 * A group of verbs, such as `refrain cases show`. Called alone it lists; to what it does not know it answers with what
 * it has.
 */
export function addGroup<Options>(
  program: Command,
  about: { name: string; summary: string; description: string; options?: readonly Option[]; help: string },
  list: Verb<[Options]>,
): Command {
  const group = program
    .command(about.name)
    .summary(about.summary)
    .description(about.description)
    .usage('[verb] [options]')
    .argument('[verb]')
    .addHelpText('after', about.help);
  const listing = group.command('list').description('the same as no verb at all').action(action(list));
  for (const option of about.options ?? []) {
    group.addOption(option);
    listing.addOption(option);
  }
  return group.action(
    action<[string | undefined, Options]>(async (session, unknown, options) => {
      if (unknown === undefined) return list(session, options);
      const verbs = group.commands.map((command) => command.name()).join(', ');
      throw new UsageError(
        `"${about.name}" has no verb "${safe(unknown)}"; it has: ${verbs}. See "refrain ${about.name} --help"`,
      );
    }),
  );
}

import { type Command, Option } from 'commander';
import type { Store } from '../../adapters/store.ts';
import { renderTable } from '../render/table.ts';
import { count, safe } from '../render/text.ts';
import { action, type Session } from '../session.ts';
import { withStore } from '../side.ts';
import { addGroup, limitOption } from './listing.ts';

const QUEUES = ['register-requests', 'scan-requests', 'review'] as const;
type QueueName = (typeof QUEUES)[number];

const queueOption = () =>
  new Option('--queue <name>', 'which queue').choices(QUEUES).default('review' satisfies QueueName);

interface Options {
  queue: QueueName;
  limit?: number;
}

export function addQueue(program: Command): void {
  const group = addGroup<object>(
    program,
    {
      name: 'queue',
      summary: 'messages: list, peek, take, dead, redrive',
      description:
        'Lists the queues; or reads the messages of one. The review queue carries a CloudEvents message for every ' +
        'case, for the tools of moderators. A message that failed too often becomes a dead letter.',
      help: `
Examples:
  $ refrain queue                                  how many wait, and how many are dead
  $ refrain queue peek                             the next review messages, left where they are
  $ refrain queue take --limit 1 --jsonl           the next one, taken out
  $ refrain queue dead --queue scan-requests
  $ refrain queue redrive --queue scan-requests    try the dead letters again`,
    },
    async (session) => {
      await withStore(session, 'read', async (store) => {
        const stats = await Promise.all(
          QUEUES.map(async (name) => ({ queue: name, ...(await store.queue(name).stats()) })),
        );
        session.terminal.list(stats, (queues, screen) =>
          renderTable(
            [
              { title: 'queue' },
              { title: 'waiting', align: 'right' },
              { title: 'in work', align: 'right' },
              { title: 'delayed', align: 'right' },
              { title: 'dead', align: 'right' },
            ],
            queues.map(({ queue, visible, inFlight, delayed, dead }) => [
              queue,
              ...[visible, inFlight, delayed, dead].map(String),
            ]),
            screen,
          ),
        );
      });
      return undefined;
    },
  );

  group
    .command('peek')
    .description('the next messages, left where they are')
    .addOption(queueOption())
    .addOption(limitOption())
    .action(
      action<[Options]>((session, { queue, limit }) =>
        withStore(session, 'read', (store) => printMessages(session, store, queue, limit)),
      ),
    );

  group
    .command('dead')
    .description('the dead letters of a queue, left where they are')
    .addOption(queueOption())
    .addOption(limitOption())
    .action(
      action<[Options]>((session, { queue, limit }) =>
        withStore(session, 'read', (store) =>
          printMessages(session, store, store.queue(queue).deadLetters, limit),
        ),
      ),
    );

  group
    .command('take')
    .description('take messages out of a queue; each is printed before it is deleted')
    .addOption(queueOption())
    .addOption(limitOption())
    .action(
      action<[Options]>(async (session, { queue: name, limit = 1 }) =>
        withStore(session, 'write', async (store) => {
          const queue = store.queue(name);
          for (let taken = 0; taken < limit; taken++) {
            const [message] = await queue.receive({ max: 1 });
            if (!message) {
              if (taken === 0) session.terminal.note(`no message waits in "${name}"`);
              break;
            }
            print(session, message.body);
            await queue.delete(message.receiptHandle);
          }
          return undefined;
        }),
      ),
    );

  group
    .command('redrive')
    .description(
      'send the dead letters of a queue back to it; they are handled by the next scan or registration',
    )
    .addOption(queueOption())
    .action(
      action<[Options]>(async (session, { queue: name }) => {
        const moved = await withStore(session, 'write', (store) => store.queue(name).redrive());
        session.terminal.result({ queue: name, moved }, () => [
          `${count(moved, 'message')} went back to "${name}"`,
        ]);
        return undefined;
      }),
    );
}

async function printMessages(session: Session, store: Store, queue: string, limit = 50): Promise<undefined> {
  const messages = await store.queue(queue).peek(limit);
  for (const { body } of messages) print(session, body);
  if (messages.length === 0) session.terminal.note(`no message waits in "${queue}"`);
  return undefined;
}

/** A message as it is for machines; indented for people. */
function print({ terminal }: Session, body: string): void {
  let message: unknown;
  try {
    message = JSON.parse(body);
  } catch {
    message = { body };
  }
  terminal.result(message as object, () => JSON.stringify(message, undefined, 2).split('\n').map(safe));
}

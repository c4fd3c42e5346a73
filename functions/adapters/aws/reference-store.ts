import {
  DeleteCommand,
  type DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  TransactWriteCommand,
} from '@aws-sdk/lib-dynamodb';
import { Policy } from '../../core/policy.ts';
import { Reference } from '../../core/reference.ts';
import type { Page, PageRequest, ReferenceStore } from '../../ports/stores.ts';
import { newestFirst, oldestFirst, RecordTable } from './table.ts';

const LIST = 'reference';

const keyOf = (referenceId: string) => ({ pk: `reference#${referenceId}`, sk: 'reference' });
const ownerKey = (owner: string) => ({ pk: `owner#${owner}`, sk: 'policy' });

/**
 * Which reference has which content: items of their own rather than an index, because an index lags behind and two
 * deliveries of one file must not make two references of it.
 */
const contentKey = ({ contentId, registeredAt, referenceId }: Reference) => ({
  pk: `content#${contentId}`,
  sk: `${oldestFirst(registeredAt)}#${referenceId}`,
});

/** References in DynamoDB (`TABLES.references`), listed newest first. */
export class DynamoReferenceStore implements ReferenceStore {
  readonly #table: RecordTable<Reference>;

  constructor(client: DynamoDBDocumentClient, tableName: string) {
    this.#table = new RecordTable(client, tableName, Reference);
  }

  get(referenceId: string): Promise<Reference | undefined> {
    return this.#table.get(keyOf(referenceId));
  }

  async getMany(referenceIds: readonly string[]): Promise<Map<string, Reference>> {
    const items = await this.#table.getItems([...new Set(referenceIds)].map(keyOf));
    return new Map(
      items.map((item) => {
        const reference = this.#table.decode(item);
        return [reference.referenceId, reference];
      }),
    );
  }

  async findByContent(contentId: string): Promise<Reference | undefined> {
    const { Items } = await this.#table.client.send(
      new QueryCommand({
        TableName: this.#table.name,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': `content#${contentId}` },
        ConsistentRead: true,
      }),
    );
    for (const { referenceId } of Items ?? []) {
      const reference = await this.get(referenceId);
      // A reference that took another file over leaves its old pointer behind.
      if (reference?.contentId === contentId) return reference;
    }
    return undefined;
  }

  async put(reference: Reference): Promise<void> {
    const { referenceId, registeredAt } = reference;
    await this.#table.client.send(
      new TransactWriteCommand({
        TransactItems: [
          {
            Put: {
              TableName: this.#table.name,
              Item: {
                ...keyOf(referenceId),
                list: LIST,
                rank: `${newestFirst(registeredAt)}#${referenceId}`,
                state: reference.state,
                record: this.#table.encode(reference),
              },
            },
          },
          { Put: { TableName: this.#table.name, Item: { ...contentKey(reference), referenceId } } },
        ],
      }),
    );
  }

  async delete(referenceId: string): Promise<void> {
    const TableName = this.#table.name;
    const reference = await this.get(referenceId);
    if (reference) {
      await this.#table.client.send(new DeleteCommand({ TableName, Key: contentKey(reference) }));
    }
    await this.#table.client.send(new DeleteCommand({ TableName, Key: keyOf(referenceId) }));
  }

  list(page?: PageRequest): Promise<Page<Reference>> {
    return this.#table.list({ name: 'byTime', hash: 'list', value: LIST, keyNames: ['pk', 'sk'] }, page);
  }

  async ownerPolicy(owner: string): Promise<Policy | undefined> {
    const { Item } = await this.#table.client.send(
      new GetCommand({ TableName: this.#table.name, Key: ownerKey(owner), ConsistentRead: true }),
    );
    return Item && Policy.parse(JSON.parse(Item['policy']));
  }

  async putOwnerPolicy(owner: string, policy: Policy): Promise<void> {
    const Item = { ...ownerKey(owner), policy: JSON.stringify(policy) };
    await this.#table.client.send(new PutCommand({ TableName: this.#table.name, Item }));
  }
}

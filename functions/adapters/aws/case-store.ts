import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { type DynamoDBDocumentClient, PutCommand } from '@aws-sdk/lib-dynamodb';
import { Case } from '../../core/case.ts';
import { ConflictError } from '../../core/errors.ts';
import type { CaseStore, Page, PageRequest } from '../../ports/stores.ts';
import { oldestFirst, RecordTable } from './table.ts';

const LIST = 'case';

/** Cases in DynamoDB (`TABLES.cases`). */
export class DynamoCaseStore implements CaseStore {
  readonly #table: RecordTable<Case>;

  constructor(client: DynamoDBDocumentClient, tableName: string) {
    this.#table = new RecordTable(client, tableName, Case);
  }

  get(caseId: string): Promise<Case | undefined> {
    return this.#table.get({ pk: caseId });
  }

  create(item: Case): Promise<boolean> {
    return this.#putIf(item, { ConditionExpression: 'attribute_not_exists(pk)' });
  }

  async update(item: Case): Promise<void> {
    const expected = item.version - 1;
    const updated = await this.#putIf(item, {
      ConditionExpression: 'version = :expected',
      ExpressionAttributeValues: { ':expected': expected },
    });
    if (!updated) {
      throw new ConflictError(
        `case ${item.caseId} is not at version ${expected} (any more): read it again and decide anew`,
      );
    }
  }

  list({ state, ...page }: PageRequest & { state?: Case['state'] } = {}): Promise<Page<Case>> {
    const index = state
      ? { name: 'byState', hash: 'state', value: state }
      : { name: 'byPriority', hash: 'list', value: LIST };
    return this.#table.list({ ...index, keyNames: ['pk'] }, page);
  }

  async #putIf(item: Case, condition: Condition): Promise<boolean> {
    // Highest priority first, then oldest first.
    const rank = `${String(100 - item.priority).padStart(3, '0')}#${oldestFirst(item.openedAt)}#${item.caseId}`;
    try {
      await this.#table.client.send(
        new PutCommand({
          TableName: this.#table.name,
          Item: {
            pk: item.caseId,
            list: LIST,
            rank,
            state: item.state,
            version: item.version,
            record: this.#table.encode(item),
          },
          ...condition,
        }),
      );
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      throw error;
    }
  }
}

interface Condition {
  ConditionExpression: string;
  ExpressionAttributeValues?: Record<string, unknown>;
}

import {
  CreateFunctionCommand,
  UpdateFunctionCodeCommand,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda';
import { zipSync } from 'fflate';
import type { AwsClients } from '../../../functions/adapters/aws/clients.ts';
import { unique } from './aws.ts';

export interface FunctionSettings {
  environment?: Record<string, string>;
  timeoutSeconds?: number;
}

/** Creates a zip function of these files; its handler is `handler` of `lambda.mjs`. */
export async function createFunction(
  { lambda }: AwsClients,
  files: Record<string, Uint8Array | string>,
  { environment = {}, timeoutSeconds = 30 }: FunctionSettings = {},
): Promise<string> {
  const FunctionName = unique('function');
  await lambda.send(
    new CreateFunctionCommand({
      FunctionName,
      Runtime: 'nodejs22.x',
      Handler: 'lambda.handler',
      Role: 'arn:aws:iam::000000000000:role/function',
      Timeout: timeoutSeconds,
      Code: { ZipFile: zipped(files) },
      Environment: { Variables: environment },
    }),
  );
  await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 30 }, { FunctionName });
  return FunctionName;
}

/** Deploys other code under the same name. */
export async function replaceCode(
  { lambda }: AwsClients,
  FunctionName: string,
  files: Record<string, Uint8Array | string>,
): Promise<void> {
  await lambda.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: zipped(files) }));
}

function zipped(files: Record<string, Uint8Array | string>): Uint8Array {
  const bytes = Object.entries(files).map(([name, content]): [string, Uint8Array] => [
    name,
    typeof content === 'string' ? Buffer.from(content) : content,
  ]);
  return zipSync(Object.fromEntries(bytes), { level: 1 });
}

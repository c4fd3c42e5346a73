import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { awsClients, depthOf } from './support/aws.ts';
import { type Deployment, deploy } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';

// The real command line, as a process of its own, on stacks that were deployed as they are synthesised. Everything it
// knows of them it reads from their outputs.

const clients = awsClients();

/** What an operator has in the environment. */
const environment = () => ({
  AWS_ENDPOINT_URL: inject('awsUrl'),
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
});

describe('the command line on a deployment', () => {
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await deploy(clients, { maxReceives: 1 });
  }, 240_000);

  const refrain = (...args: string[]): Promise<CliResult> =>
    runCli([...args, '--stack', deployment.stack], { env: environment() });

  it('shows dead letters', async () => {
    const { url, deadLetters } = deployment.scanRequests;
    await clients.sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'nobody understands this' }));
    await eventually('the dead letter', async () =>
      (await depthOf(clients, deadLetters)) === 1 ? true : undefined,
    );

    const status = await refrain('aws', 'status', '--jsonl');

    expect(status.code).toBe(0);
    expect(status.lines()[0]).toMatchObject({
      stack: deployment.stack,
      queues: expect.arrayContaining([
        expect.objectContaining({ queue: 'scanRequests', dead: 1, waiting: 0 }),
      ]),
    });
  });
});

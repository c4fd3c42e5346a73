import { dirname, join } from 'node:path';
import { installMinistack } from './install.ts';
import { LocalServer } from './local-server.ts';

/** S3, SQS, DynamoDB, EventBridge, Lambda and CloudFormation on 127.0.0.1; state lives in memory. */
export async function startMinistack(): Promise<LocalServer> {
  const executable = await installMinistack();
  return LocalServer.start('ministack', '/_ministack/health', ({ port, folder }) => ({
    executable,
    args: [],
    env: {
      // Zip functions run in the first `node` on the path: this one.
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      HOME: folder,
      TMPDIR: folder,
      BIND_HOST: '127.0.0.1',
      MINISTACK_HOST: '127.0.0.1',
      GATEWAY_PORT: String(port),
      LAMBDA_EXECUTOR: 'local',
      S3_DATA_DIR: join(folder, 's3'),
      STATE_DIR: join(folder, 'state'),
    },
  }));
}

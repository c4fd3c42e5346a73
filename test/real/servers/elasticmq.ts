import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findJava, installElasticMq } from './install.ts';
import { LocalServer } from './local-server.ts';

/** SQS alone, on 127.0.0.1, and with tasks that move dead letters, which ministack does not have. */
export async function startElasticMq(): Promise<LocalServer> {
  const [java, lib] = [await findJava(), await installElasticMq()];
  return LocalServer.start('ElasticMQ', '/?Action=ListQueues', async ({ port, folder }) => {
    const config = join(folder, 'elasticmq.conf');
    await writeFile(
      config,
      `include classpath("application.conf")
      node-address { protocol = http, host = "127.0.0.1", port = ${port}, context-path = "" }
      rest-sqs { enabled = true, bind-port = ${port}, bind-hostname = "127.0.0.1" }
      rest-stats { enabled = false }`,
    );
    const args = [`-Dconfig.file=${config}`, '-Xmx256m', '-cp', join(lib, '*'), 'org.elasticmq.server.Main'];
    return { executable: java, args, env: {} };
  });
}

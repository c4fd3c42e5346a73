import type { TestProject } from 'vitest/node';
import { startMinistack } from './ministack.ts';
import { OpenSearchServer } from './opensearch.ts';

declare module 'vitest' {
  interface ProvidedContext {
    openSearchUrl: string;
    awsUrl: string;
  }
}

/** Both servers run as long as the test run does. A server that cannot start fails the run: nothing is skipped. */
export default async function startServers(project: TestProject): Promise<() => Promise<void>> {
  const started = await Promise.allSettled([OpenSearchServer.start(), startMinistack()]);
  const stop = async () => {
    for (const server of started) if (server.status === 'fulfilled') await server.value.dispose();
  };
  const [openSearch, ministack] = started;
  if (openSearch.status === 'rejected' || ministack.status === 'rejected') {
    await stop();
    throw openSearch.status === 'rejected' ? openSearch.reason : (ministack as PromiseRejectedResult).reason;
  }
  project.provide('openSearchUrl', openSearch.value.url);
  project.provide('awsUrl', ministack.value.url);
  return stop;
}

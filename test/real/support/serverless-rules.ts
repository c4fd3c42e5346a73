import type { Answer, Fault } from './faulty-proxy.ts';

/** What a vector collection of OpenSearch Serverless serves of the API, by its documentation; all else is not there. */
const SERVED: readonly [method: RegExp, path: RegExp][] = [
  [/^(PUT|GET|HEAD|DELETE)$/, /^\/[^/_][^/]*$/],
  [/^(PUT|GET)$/, /^\/[^/_][^/]*\/_(mapping|settings)$/],
  [/^POST$/, /^(\/[^/_][^/]*)?\/_bulk$/],
  [/^POST$/, /^\/[^/_][^/]*\/_doc$/],
  [/^DELETE$/, /^\/[^/_][^/]*\/_doc\/[^/]+$/],
  [/^(GET|POST)$/, /^(\/[^/_][^/]*)?\/_(search|msearch|count)$/],
];

const refused = (status: number, reason: string): Answer => ({
  status,
  body: JSON.stringify({ error: { type: 'illegal_argument_exception', reason }, status }),
});

/** Lets through to the genuine OpenSearch what Serverless would take, and refuses the rest in its words. */
export const likeServerless: Fault = ({ method, path, body }) => {
  const { pathname, searchParams } = new URL(path, 'http://serverless');
  if (!SERVED.some(([methods, paths]) => methods.test(method) && paths.test(pathname)))
    return refused(404, `${method} ${pathname}`);
  if (searchParams.has('refresh')) return refused(400, 'true refresh policy is not supported.');
  if (pathname.endsWith('/_bulk')) {
    const indexed = body.split('\n').filter((line) => /^\{"(index|create|update)":/.test(line));
    if (indexed.some((line) => line.includes('"_id"'))) {
      return refused(400, 'Document ID is not supported in create/index operation request');
    }
  }
  if (method === 'PUT' && /number_of_(shards|replicas)/.test(body)) return refused(400, 'unknown setting');
  return undefined;
};

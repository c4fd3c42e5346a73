import { type CloudWatchClient, paginateGetMetricData } from '@aws-sdk/client-cloudwatch';

/** One figure over a time. */
export interface Measurement {
  namespace: string;
  metric: string;
  dimensions: Record<string, string>;
  statistic: 'Sum' | 'Maximum';
}

export interface MeasuredTime {
  since: Date;
  until: Date;
  /** CloudWatch keeps minutes for 15 days, and hours for 455. */
  periodSeconds: 60 | 3600;
}

/** Asks CloudWatch for figures; gives for each the sum (or maximum), `undefined` where nothing was measured. */
export async function measure(
  client: CloudWatchClient,
  figures: readonly Measurement[],
  { since, until, periodSeconds }: MeasuredTime,
): Promise<(number | undefined)[]> {
  const periodMs = periodSeconds * 1000;
  const pages = paginateGetMetricData(
    { client },
    {
      StartTime: new Date(Math.floor(since.getTime() / periodMs) * periodMs),
      EndTime: until,
      MetricDataQueries: figures.map(({ namespace, metric, dimensions, statistic }, i) => ({
        Id: `m${i}`,
        MetricStat: {
          Metric: {
            Namespace: namespace,
            MetricName: metric,
            Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
          },
          Period: periodSeconds,
          Stat: statistic,
        },
      })),
    },
  );
  const values = figures.map((): number[] => []);
  for await (const { MetricDataResults = [] } of pages) {
    for (const { Id, Values = [] } of MetricDataResults) values[Number(Id!.slice(1))]!.push(...Values);
  }
  return values.map((of, i) => {
    if (of.length === 0) return undefined;
    return figures[i]!.statistic === 'Sum' ? of.reduce((sum, value) => sum + value, 0) : Math.max(...of);
  });
}

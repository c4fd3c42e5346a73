/** The value below which this share (0..1) of the others lies; 0 where there are none. */
export function quantile(values: readonly number[], share: number): number {
  return Float64Array.from(values).sort()[Math.round(share * (values.length - 1))] ?? 0;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

import { type Assumptions, planCapacity } from './capacity.ts';

/** What a deployment did and has. */
export interface Usage {
  /** The time that the figures are of. */
  days: number;
  uploads: number;
  searchedHours: number;
  /** Absent where nobody measured them: then they follow from the hours. */
  lambda?: { gigabyteSeconds: number; runs: number };
  /** What runs by the hour; absent where somebody else runs the catalogue. Serverless has no disks of its own, and no price. */
  catalogue?: { nodeType: string; nodes: number; masters: number; volumeGiB: number };
}

export interface CostLine {
  what: string;
  /** `deployed`: it runs, whatever is done. `measured`: in the time asked for. `planned`: from the hours that were scanned. */
  basis: 'deployed' | 'measured' | 'planned';
  /** `null` where no price is known. */
  usdPerMonth: number | null;
}

export interface Cost {
  lines: CostLine[];
  /** Of all that has a price. */
  usdPerMonth: number;
  /** `null` where nothing was scanned. */
  usdPerThousandScannedHours: number | null;
}

const HOURS_PER_MONTH = 730;
const DAYS_PER_MONTH = 30.4;

/** What a deployment costs a month if it goes on like this. The prices, and what nobody measured, are the planner's. */
export function costOf(usage: Usage, assumptions: Assumptions): Cost {
  const { days, uploads, searchedHours, catalogue } = usage;
  const { prices } = assumptions;
  const load = {
    // What the catalogue needs is deployed: nothing to plan.
    catalogueHours: 0,
    uploadsPerDay: uploads / days,
    minutesEach: uploads > 0 ? (searchedHours * 60) / uploads : 0,
  };
  const asDeployed = {
    ...assumptions,
    masters: catalogue?.masters ?? 0,
    prices: { ...prices, endpointHour: catalogue ? prices.endpointHour : 0 },
  };
  const { lambda, other } = planCapacity(load, asDeployed);

  const lines: CostLine[] = [
    ...(catalogue ? catalogueLines(catalogue, prices) : []),
    usage.lambda ? measuredLambda(usage.lambda, days, prices) : plannedLambda(lambda.usdPerMonth),
    ...other
      .filter(({ usdPerMonth }) => usdPerMonth > 0)
      .map((line): CostLine => ({ ...line, basis: 'planned' })),
  ];
  const usdPerMonth = lines.reduce((sum, line) => sum + (line.usdPerMonth ?? 0), 0);
  const hoursPerMonth = (searchedHours / days) * DAYS_PER_MONTH;
  return {
    lines,
    usdPerMonth,
    usdPerThousandScannedHours: hoursPerMonth > 0 ? (usdPerMonth / hoursPerMonth) * 1000 : null,
  };
}

function catalogueLines(
  { nodeType, nodes, volumeGiB }: NonNullable<Usage['catalogue']>,
  { nodeHour, storageGbMonth }: Assumptions['prices'],
): CostLine[] {
  const hourly = nodeHour[nodeType];
  return [
    {
      what: `catalogue nodes: ${nodes} x ${nodeType}`,
      basis: 'deployed',
      usdPerMonth: hourly === undefined ? null : nodes * hourly * HOURS_PER_MONTH,
    },
    ...(volumeGiB > 0 ? [disks(nodes, volumeGiB, storageGbMonth)] : []),
  ];
}

const disks = (nodes: number, volumeGiB: number, storageGbMonth: number): CostLine => ({
  what: `disks of the catalogue: ${nodes} x ${volumeGiB} GiB`,
  basis: 'deployed',
  usdPerMonth: nodes * volumeGiB * storageGbMonth,
});

function measuredLambda(
  { gigabyteSeconds, runs }: NonNullable<Usage['lambda']>,
  days: number,
  { lambdaGbSecond, lambdaRequest }: Assumptions['prices'],
): CostLine {
  const usd = gigabyteSeconds * lambdaGbSecond + runs * lambdaRequest;
  return { what: 'Lambda', basis: 'measured', usdPerMonth: (usd / days) * DAYS_PER_MONTH };
}

const plannedLambda = (usdPerMonth: number): CostLine => ({ what: 'Lambda', basis: 'planned', usdPerMonth });

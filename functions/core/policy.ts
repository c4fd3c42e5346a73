import { z } from 'zod';
import { Action, type Detection } from './detection.ts';

/** One condition, in the shape of DDEX's RightsClaimPolicy: "more than 30 seconds of the upload". */
export const Condition = z.discriminatedUnion('of', [
  z.object({
    of: z.enum(['upload', 'reference']),
    unit: z.enum(['seconds', 'percent']),
    relation: z.enum(['atLeast', 'lessThan']),
    value: z.number().nonnegative(),
  }),
  z.object({
    of: z.literal('confidence'),
    relation: z.enum(['atLeast', 'lessThan']),
    value: z.number().min(0).max(1),
  }),
]);
export type Condition = z.infer<typeof Condition>;

/** All conditions of a rule must hold (none = always). The first rule that holds decides. */
export const PolicyRule = z.object({ when: z.array(Condition).default([]), action: Action });
export const Policy = z.object({ rules: z.array(PolicyRule).min(1) });
export type Policy = z.infer<typeof Policy>;

/** Labels first, enforcement later: unless an owner says otherwise, a person looks at every match. */
export const DEFAULT_POLICY: Policy = { rules: [{ when: [], action: 'review' }] };

const RESTRICTIVENESS: Record<Action, number> = { allow: 0, track: 1, monetise: 2, review: 3, block: 4 };

export type Measured = Pick<Detection, 'confidence' | 'coverage' | 'matchedMs'>;

/** The most restrictive action that the policies ask for; a policy without a matching rule says `allow`. */
export function decideAction(policies: readonly Policy[], detection: Measured): Action {
  const asked = policies.map((policy) => ruleFor(policy, detection)?.action ?? 'allow');
  return asked.reduce((a, b) => (RESTRICTIVENESS[b] > RESTRICTIVENESS[a] ? b : a), 'allow');
}

function ruleFor(policy: Policy, detection: Measured) {
  return policy.rules.find((rule) => rule.when.every((condition) => holds(condition, detection)));
}

function holds(condition: Condition, detection: Measured): boolean {
  const measured = measure(condition, detection);
  return condition.relation === 'atLeast' ? measured >= condition.value : measured < condition.value;
}

function measure(condition: Condition, { confidence, coverage, matchedMs }: Measured): number {
  if (condition.of === 'confidence') return confidence;
  return condition.unit === 'seconds' ? matchedMs / 1000 : coverage[condition.of] * 100;
}

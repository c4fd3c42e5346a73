import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** Exceptions to cdk-nag's rules, each with the reason why the rule does not fit this one construct. */
export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  for (const [id, reason] of Object.entries(reasons)) {
    Validations.of(construct).acknowledge({ id, reason });
  }
}

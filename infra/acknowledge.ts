import { Stack, Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** Exceptions to cdk-nag's rules, each with the reason why the rule does not fit this one construct. */
export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  for (const [id, reason] of Object.entries(reasons)) {
    Validations.of(construct).acknowledge({ id, reason });
  }
}

/** cdk-nag names a wildcard resource as the template writes it, pseudo parameters in angle brackets. */
export function acknowledgeResource(construct: IConstruct, arn: string, reason: string): void {
  acknowledge(construct, {
    [`AwsSolutions-IAM5[Resource::${asPrinted(Stack.of(construct).resolve(arn))}]`]: reason,
  });
}

function asPrinted(arn: string | { 'Fn::Join': [string, (string | { Ref: string })[]] }): string {
  if (typeof arn === 'string') return arn;
  const [separator, parts] = arn['Fn::Join'];
  return parts.map((part) => (typeof part === 'string' ? part : `<${part.Ref}>`)).join(separator);
}

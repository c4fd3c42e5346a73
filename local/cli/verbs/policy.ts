import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { type Condition, DEFAULT_POLICY, Policy } from '../../../functions/core/policy.ts';
import { getReference, setPolicy } from '../../../functions/register/manage.ts';
import { sentenceOf, UsageError } from '../errors.ts';
import { ACTION_STYLES } from '../render/scan.ts';
import { paint, type Screen } from '../render/screen.ts';
import { safe } from '../render/text.ts';
import { action } from '../session.ts';
import { withRecords } from '../side.ts';

interface Whose {
  owner?: string;
  reference?: string;
}

const EXAMPLES = `
A policy is a JSON file with rules. All conditions of a rule must hold; the first rule that
holds decides; when none does, the match is allowed. Where the policies of a recording and
of its owner differ, the more restrictive action wins. Where nobody set one, every match
goes to review.

  {"rules": [
    {"when": [{"of": "reference", "unit": "percent", "relation": "atLeast", "value": 80}],
     "action": "block"},
    {"when": [{"of": "upload", "unit": "seconds", "relation": "lessThan", "value": 10},
              {"of": "confidence", "relation": "lessThan", "value": 0.9}],
     "action": "track"},
    {"action": "review"}]}

  of        upload or reference, with unit seconds or percent; or confidence (0 to 1)
  relation  atLeast or lessThan
  action    block, review, monetise, track or allow

Examples:
  $ refrain policy show --owner "Night Label"
  $ refrain policy set --owner "Night Label" policy.json
  $ refrain policy set --reference catalogue-0042 policy.json`;

export function addPolicy(program: Command): void {
  const group = program
    .command('policy')
    .summary('what happens to a match: show, set')
    .description('Shows or sets the rules of an owner or of one recording. They count from the next scan on.')
    .usage('<verb> [options]')
    .addHelpText('after', EXAMPLES);

  group
    .command('show')
    .description('the policy that is set for an owner or a recording')
    .option('--owner <name>')
    .option('--reference <id>')
    .action(
      action<[Whose]>(async (session, whose) => {
        const { owner, reference } = oneOf(whose);
        const policy = await withRecords(session, 'read', async ({ references }) =>
          owner !== undefined
            ? await references.ownerPolicy(owner)
            : (await getReference(reference!, references)).policy,
        );
        session.terminal.result({ ...whoseRecord(whose), policy: policy ?? null }, (screen) =>
          policy
            ? drawPolicy(policy, screen)
            : ['No policy is set; without one:', ...drawPolicy(DEFAULT_POLICY, screen)],
        );
        return undefined;
      }),
    );

  group
    .command('set')
    .description('set the policy of an owner or a recording from a JSON file')
    .argument('<file>')
    .option('--owner <name>')
    .option('--reference <id>')
    .action(
      action<[string, Whose]>(async (session, file, whose) => {
        const { owner, reference } = oneOf(whose);
        const policy = await readPolicy(file);
        await withRecords(session, 'write', async ({ references }) => {
          if (owner !== undefined) await references.putOwnerPolicy(owner, policy);
          else await setPolicy(reference!, policy, references);
        });
        session.terminal.result({ ...whoseRecord(whose), policy }, (screen) => drawPolicy(policy, screen));
        return undefined;
      }),
    );
}

function oneOf({ owner, reference }: Whose): Whose {
  if ((owner === undefined) === (reference === undefined)) {
    throw new UsageError('say whose policy: either --owner NAME or --reference ID');
  }
  return { ...(owner !== undefined && { owner }), ...(reference !== undefined && { reference }) };
}

const whoseRecord = ({ owner, reference }: Whose) => ({
  ...(owner !== undefined && { owner }),
  ...(reference !== undefined && { referenceId: reference }),
});

async function readPolicy(path: string): Promise<Policy> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    const why =
      error instanceof SyntaxError ? `${safe(path)} is not JSON: ${error.message}` : sentenceOf(error);
    throw new UsageError(`cannot read the policy: ${why}`, { cause: error });
  }
  const policy = Policy.safeParse(json);
  if (policy.success) return policy.data;
  throw new UsageError(
    `${safe(path)} is no policy; see "refrain policy --help":\n${z.prettifyError(policy.error)}`,
  );
}

const drawPolicy = (policy: Policy, screen: Screen): string[] =>
  policy.rules.map(
    (rule, i) => `  ${i + 1}. ${paint(screen, ACTION_STYLES[rule.action], rule.action)}${whenWords(rule)}`,
  );

/** `block when at least 80% of the reference` */
export const policyWords = ({ rules }: Policy): string[] =>
  rules.map((rule) => rule.action + whenWords(rule));

function whenWords({ when }: Policy['rules'][number]): string {
  return when.length === 0 ? '' : ` when ${when.map(conditionWords).join(' and ')}`;
}

function conditionWords(condition: Condition): string {
  const relation = condition.relation === 'atLeast' ? 'at least' : 'less than';
  if (condition.of === 'confidence') return `${relation} ${Math.round(condition.value * 1000) / 10}% sure`;
  const unit = condition.unit === 'percent' ? '%' : ' s';
  return `${relation} ${condition.value}${unit} of the ${condition.of}`;
}

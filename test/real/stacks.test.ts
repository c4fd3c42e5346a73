import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { installCfnLint } from './servers/install.ts';
import { awsClients } from './support/aws.ts';
import { bootstrap, deployStack, NOT_EMULATED, STAGES, synthesise } from './support/stacks.ts';

// What can be said of the stacks without an AWS account: cfn-lint knows what CloudFormation accepts, property by
// property, and ministack's CloudFormation creates them. (That they work together is what the end-to-end test shows.)

describe.each(STAGES)('the stacks of stage %s', (stage) => {
  it('pass cfn-lint', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'refrain-templates-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    for (const { name, template } of await synthesise(stage)) {
      writeFileSync(join(folder, `${name}.json`), JSON.stringify(template, null, 1));
    }

    const cfnLint = promisify(execFile)(await installCfnLint(), [
      // CDK lets a function wait for its role by name as well as by reference.
      ...['--ignore-checks', 'W3005'],
      ...['--non-zero-exit-code', 'informational'],
      ...['--template', join(folder, '*.json')],
    ]);

    await expect(cfnLint).resolves.toMatchObject({ stdout: '' });
  });

  it('can be created, all but a few resources', async () => {
    const clients = awsClients();
    await bootstrap(clients);
    const stacks = await synthesise(stage);
    const resources = stacks.flatMap(({ template }) => Object.values(template.Resources));

    for (const stack of stacks) await deployStack(clients, stack);

    const leftOut = resources.filter((resource) => NOT_EMULATED.some((is) => is(resource)));
    // A tenth where the catalogue is a domain; of Serverless, nothing is emulated.
    expect(leftOut.length).toBeLessThan(resources.length / (stage === 'serverless' ? 6 : 10));
  });
});

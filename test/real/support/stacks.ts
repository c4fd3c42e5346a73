import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CloudFormationClient,
  CreateStackCommand,
  DescribeStackEventsCommand,
  DescribeStacksCommand,
} from '@aws-sdk/client-cloudformation';
import { HeadObjectCommand, NotFound, PutObjectCommand } from '@aws-sdk/client-s3';
import { App } from 'aws-cdk-lib';
import { zipSync } from 'fflate';
import { afterAll, inject } from 'vitest';
import type { AwsClients } from '../../../functions/adapters/aws/clients.ts';
import { type Bundles, bundleFunction } from '../../../infra/bundle.ts';
import { createStacks } from '../../../infra/stacks/index.ts';
import { readStage } from '../../../infra/stage.ts';
import { eventually } from './eventually.ts';

// The stacks as `cdk synth` makes them, given to ministack's CloudFormation as `cdk deploy` would give them to AWS's.

const ROOT = join(import.meta.dirname, '../../..');
const { context } = JSON.parse(readFileSync(join(ROOT, 'cdk.json'), 'utf8'));
export const STAGES = Object.keys(context.stages);

/** Everything temporary goes with the tests of the file. */
const FOLDER = mkdtempSync(join(tmpdir(), 'refrain-stacks-'));
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

export interface Resource {
  Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: a template is JSON of any shape
  Properties: Record<string, any>;
}

export interface SynthesisedStack {
  name: string;
  template: { Resources: Record<string, Resource> };
  /** Code of functions: where it lies, by the key under which the template looks for it. */
  assets: { folder: string; key: string }[];
}

/**
 * Synthesises all stacks of a stage, in the order in which they can be deployed.
 * @param like the stage of `cdk.json` whose settings are taken
 */
export async function synthesise(stageName: string, { like = stageName } = {}): Promise<SynthesisedStack[]> {
  const outdir = mkdtempSync(join(FOLDER, 'cdk.out-'));
  const app = new App({ context, outdir });
  createStacks(app, readStage(stageName, { [stageName]: context.stages[like] }), await bundled());
  return app.synth().stacks.map(({ stackName: name, template }) => ({
    name,
    template,
    assets: assetsOf(outdir, name),
  }));
}

/** The same stacks for another stage. */
export const renamed = (stacks: SynthesisedStack[], from: string, to: string): SynthesisedStack[] =>
  stacks.map(({ name, template, assets }) => ({
    name: name.replace(from, to),
    template: JSON.parse(JSON.stringify(template).replaceAll(from, to)),
    assets,
  }));

function assetsOf(outdir: string, stackName: string): SynthesisedStack['assets'] {
  const { files } = JSON.parse(readFileSync(join(outdir, `${stackName}.assets.json`), 'utf8'));
  return Object.values<{
    source: { path: string; packaging: string };
    destinations: Record<string, { objectKey: string }>;
  }>(files)
    .filter(({ source }) => source.packaging === 'zip')
    .map(({ source, destinations }) => ({
      folder: join(outdir, source.path),
      key: Object.values(destinations)[0]!.objectKey,
    }));
}

let bundles: Promise<Bundles> | undefined;

/**
 * The functions as `cdk deploy` bundles them, but with FFmpeg where npm put it: ministack unpacks layers somewhere else
 * than in `/opt`, and the one of production is for another processor than most machines have. So it is empty here.
 */
function bundled(): Promise<Bundles> {
  bundles ??= (async () => {
    const modules = join(ROOT, 'node_modules');
    const [scan, register] = await Promise.all(
      ['scan', 'register'].map((name) => bundleFunction(name, join(FOLDER, name), modules)),
    );
    const mediaLayer = mkdtempSync(join(FOLDER, 'layer-'));
    writeFileSync(join(mediaLayer, 'README'), 'FFmpeg comes from node_modules.');
    return { scan: scan!, register: register!, mediaLayer };
  })();
  return bundles;
}

/** Where CDK keeps what it deploys. */
const ASSETS = 'cdk-hnb659fds-assets-000000000000-us-east-1';

/** What `cdk bootstrap` leaves in an account, as far as the stacks ask for it. */
const BOOTSTRAP: SynthesisedStack = {
  name: 'CDKToolkit',
  template: {
    Resources: {
      Version: {
        Type: 'AWS::SSM::Parameter',
        Properties: { Name: '/cdk-bootstrap/hnb659fds/version', Type: 'String', Value: '28' },
      },
      Assets: { Type: 'AWS::S3::Bucket', Properties: { BucketName: ASSETS } },
    },
  },
  assets: [],
};

/** Makes ready for stacks, as often as it is called. */
export async function bootstrap(clients: AwsClients): Promise<void> {
  const { Stacks = [] } = await cloudFormation().send(new DescribeStacksCommand());
  if (!Stacks.some(({ StackName }) => StackName === BOOTSTRAP.name)) await deployStack(clients, BOOTSTRAP);
}

/** Puts code of a function where CloudFormation finds it; gives the function's `Code` property. */
export async function putCode(
  { s3 }: AwsClients,
  files: Record<string, Uint8Array | string>,
  key = `${createHash('sha256').update(JSON.stringify(files)).digest('hex')}.zip`,
): Promise<{ S3Bucket: string; S3Key: string }> {
  const bytes = Object.entries(files).map(([name, content]) => [name, Buffer.from(content)] as const);
  const Body = zipSync(Object.fromEntries(bytes), { level: 1 });
  await s3.send(new PutObjectCommand({ Bucket: ASSETS, Key: key, Body }));
  return { S3Bucket: ASSETS, S3Key: key };
}

/**
 * Uploads the stack's assets and creates it, but for what ministack cannot create.
 * @returns its outputs
 * @throws Error that names what could not be created, and why
 */
export async function deployStack(
  clients: AwsClients,
  { name, template, assets }: SynthesisedStack,
): Promise<Record<string, string>> {
  for (const { folder, key } of assets) {
    const there = await clients.s3
      .send(new HeadObjectCommand({ Bucket: ASSETS, Key: key }))
      .catch((error) => {
        if (!(error instanceof NotFound)) throw error;
      });
    if (!there) await putCode(clients, filesOf(folder), key);
  }
  const client = cloudFormation();
  await client.send(
    new CreateStackCommand({
      StackName: name,
      TemplateBody: JSON.stringify(emulated(template)),
      Capabilities: ['CAPABILITY_NAMED_IAM'],
    }),
  );
  const stack = await eventually(`the end of the deployment of ${name}`, async () => {
    const { Stacks } = await client.send(new DescribeStacksCommand({ StackName: name }));
    return Stacks!.find(({ StackStatus }) => !StackStatus!.endsWith('_IN_PROGRESS'));
  });
  if (stack.StackStatus !== 'CREATE_COMPLETE') {
    const { StackEvents = [] } = await client.send(new DescribeStackEventsCommand({ StackName: name }));
    const reasons = StackEvents.filter(({ ResourceStatus }) => ResourceStatus === 'CREATE_FAILED').map(
      ({ LogicalResourceId, ResourceStatusReason }) => `${LogicalResourceId}: ${ResourceStatusReason}`,
    );
    throw new Error(`${name} is ${stack.StackStatus}: ${stack.StackStatusReason}\n${reasons.join('\n')}`);
  }
  return Object.fromEntries((stack.Outputs ?? []).map((output) => [output.OutputKey!, output.OutputValue!]));
}

/** The template without what cannot be created; whoever refers to that gets a name in its place. */
function emulated(template: SynthesisedStack['template']): object {
  const leftOut = Object.entries(template.Resources).filter(([, resource]) =>
    NOT_EMULATED.some((is) => is(resource)),
  );
  const ids = new Set(leftOut.map(([id]) => id));
  const Resources = Object.fromEntries(Object.entries(template.Resources).filter(([id]) => !ids.has(id)));
  return JSON.parse(JSON.stringify({ ...template, Resources }), (_, value) => {
    const id = value?.Ref ?? value?.['Fn::GetAtt']?.[0];
    return ids.has(id) ? `not-emulated-${id}` : value;
  });
}

/** What stays out of a deployment on ministack; everything else is created as it was synthesised. */
export const NOT_EMULATED: readonly ((resource: Resource) => boolean)[] = [
  // It has security groups, but knows rules only as a part of them.
  ({ Type }) => Type === 'AWS::EC2::SecurityGroupIngress' || Type === 'AWS::EC2::SecurityGroupEgress',
  // It has no packets to log.
  ({ Type }) => Type === 'AWS::EC2::FlowLog',
  // It knows collections, but not how to create them from a template.
  ({ Type }) => Type.startsWith('AWS::OpenSearchServerless::'),
  // Its alarms watch one metric each, and do no sums.
  ({ Type, Properties }) => Type === 'AWS::CloudWatch::Alarm' && Properties.Metrics !== undefined,
];

const cloudFormation = () =>
  new CloudFormationClient({ region: 'us-east-1', endpoint: inject('awsUrl'), maxAttempts: 5 });

const filesOf = (folder: string): Record<string, Uint8Array> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));

import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AwsSolutionsChecks } from 'cdk-nag';
import { beforeAll, describe, expect, it } from 'vitest';
import { ARCHITECTURE, FUNCTIONS } from '../../functions/constants.ts';
import { isMergeRequest } from '../../functions/core/requests.ts';
import { ALARMS, runbookLink } from '../../infra/alarms.ts';
import type { Bundles } from '../../infra/bundle.ts';
import { createStacks } from '../../infra/stacks/index.ts';
import { readStage } from '../../infra/stage.ts';

const config = JSON.parse(readFileSync(new URL('../../cdk.json', import.meta.url), 'utf8'));

/** Rules speak of templates, not of code: any folder with a file in it will do as an asset. */
function placeholders(): Bundles {
  const folder = mkdtempSync(join(tmpdir(), 'refrain-infra-'));
  writeFileSync(join(folder, 'lambda.mjs'), 'export const handler = () => {};');
  return { scan: folder, register: folder, mediaLayer: folder };
}

function synthesise(stageName: string, stages = config.context.stages) {
  const app = new App({ context: config.context });
  const stacks = createStacks(app, readStage(stageName, stages), placeholders());
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  const resources = Object.values(stacks).flatMap((stack) =>
    Object.entries(Template.fromStack(stack).toJSON().Resources as Record<string, Resource>).map(
      ([id, resource]) => ({ id: `${stack.stackName}/${id}`, ...resource }),
    ),
  );
  const ofType = (type: string) => resources.filter((resource) => resource.Type === type);
  return { app, stacks, all: resources, ofType };
}

interface Statement {
  Effect: string;
  Action: string | string[];
  Principal?: unknown;
}

interface Resource {
  Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: a template is JSON of any shape
  Properties: Record<string, any>;
}

describe.each(Object.keys(config.context.stages))('stage %s', (stageName) => {
  let stage: ReturnType<typeof synthesise>;
  beforeAll(() => {
    stage = synthesise(stageName);
  }, 120_000);

  it('gives every queue dead letters, encryption and TLS', () => {
    const queues = stage.ofType('AWS::SQS::Queue');
    const deadLetters = queues.filter(({ id }) => id.includes('DeadLetters'));
    const others = queues.filter(({ id }) => !id.includes('DeadLetters'));
    expect(others.length).toBe(4);
    expect(deadLetters.length).toBe(others.length);
    for (const { id, Properties } of others) {
      expect(Properties['RedrivePolicy']?.maxReceiveCount, id).toBeGreaterThanOrEqual(3);
    }
    for (const { id, Properties } of deadLetters) {
      expect(Properties['MessageRetentionPeriod'], id).toBe(14 * 24 * 3600);
    }
    for (const { id, Properties } of queues) expect(Properties['KmsMasterKeyId'], id).toBeDefined();
    for (const queue of queues) {
      const policies = stage
        .ofType('AWS::SQS::QueuePolicy')
        .filter(({ Properties }) =>
          JSON.stringify(Properties['Queues']).includes(`"${queue.id.split('/').at(-1)}"`),
        );
      expect(JSON.stringify(policies), queue.id).toContain('"aws:SecureTransport":"false"');
    }
  });

  it('hides a message at least six times as long as its function may run', () => {
    const mappings = stage.ofType('AWS::Lambda::EventSourceMapping');
    expect(mappings.length).toBe(3);
    const shortest = Math.min(
      ...stage
        .ofType('AWS::SQS::Queue')
        .filter(({ id }) => /Requests|Backfill/.test(id) && !id.includes('DeadLetters'))
        .map(({ Properties }) => Properties['VisibilityTimeout']),
    );
    expect(shortest).toBeGreaterThanOrEqual(
      6 * Math.max(FUNCTIONS.scan.timeoutSeconds, FUNCTIONS.register.timeoutSeconds),
    );
  });

  it('reports single failures, and bounds how much goes on at once', () => {
    for (const { id, Properties } of stage.ofType('AWS::Lambda::EventSourceMapping')) {
      expect(Properties['FunctionResponseTypes'], id).toEqual(['ReportBatchItemFailures']);
      expect(Properties['ScalingConfig']?.MaximumConcurrency, id).toBeGreaterThanOrEqual(2);
    }
  });

  it('packs embed, and only embed, as a container', () => {
    const functions = stage.ofType('AWS::Lambda::Function');
    const images = functions.filter(({ Properties }) => Properties['PackageType'] === 'Image');
    expect(images.map(({ Properties }) => Properties['FunctionName'])).toEqual([
      `refrain-${stageName}-embed`,
    ]);
    expect(functions.length).toBe(4);
    for (const { id, Properties } of functions)
      expect(Properties['Architectures'], id).toEqual([ARCHITECTURE]);
  });

  it('hands the Dockerfile of embed all that it copies, and no other function', () => {
    const dockerfile = readFileSync('functions/embed/Dockerfile', 'utf8');
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths]) =>
      paths!.split(' '),
    );
    const context = readdirSync(stage.app.outdir)
      .map((asset) => join(stage.app.outdir, asset))
      .find((asset) => existsSync(join(asset, 'functions/embed/Dockerfile')))!;

    expect(copied).toContain('functions/embed');
    expect(copied.filter((path) => !existsSync(join(context, path)))).toEqual([]);
    expect(readdirSync(join(context, 'functions')).sort()).toEqual(['core', 'embed', 'ports']);
  });

  it('grants each function a whole core, and twice the memory that it was measured to need', () => {
    // functions/constants.ts says by what these were measured.
    const neededMb = { scan: 453, backfill: 453, register: 369, embed: 414 };
    const granted = stage.ofType('AWS::Lambda::Function').map(({ Properties }) => ({
      name: String(Properties['FunctionName']).split('-').at(-1) as keyof typeof neededMb,
      memoryMb: Properties['MemorySize'],
    }));

    expect(granted.map(({ name }) => name).sort()).toEqual(Object.keys(neededMb).sort());
    for (const { name, memoryMb } of granted) {
      expect(memoryMb, name).toBeGreaterThanOrEqual(Math.max(1769, 2 * neededMb[name]));
    }
  });

  it('lets embed do nothing but write its log', () => {
    const actions = stage
      .ofType('AWS::IAM::Policy')
      .filter(({ id }) => id.includes('embedRole'))
      .flatMap(({ Properties }) => Properties['PolicyDocument'].Statement)
      .flatMap(({ Action }) => Action);
    // Traces, and what Lambda itself needs to put it into a subnet without a way out.
    expect(
      actions.filter(
        (action: string) => !/^(xray:Put|ec2:\w+(NetworkInterface|PrivateIp|Subnets))/.test(action),
      ),
    ).toEqual([]);
  });

  it('lets functions read what they must, list what they read, and write evidence only', () => {
    const allowed = (name: string, ...actions: string[]) =>
      stage
        .ofType('AWS::IAM::Policy')
        .filter(({ id }) => id.includes(`/${name}Role`))
        .flatMap(({ Properties }) => Properties['PolicyDocument'].Statement)
        .filter(({ Action }) => actions.every((action) => [Action].flat().includes(action)))
        .flatMap(({ Resource }) => Resource)
        .map((resource) =>
          JSON.stringify(resource)
            .match(/uploads|references|evidence/i)![0]
            .toLowerCase(),
        )
        .toSorted();
    const scanned = ['evidence', 'references', 'uploads'];
    const expected = { scan: scanned, backfill: scanned, register: ['references'], embed: [] };

    for (const [name, buckets] of Object.entries(expected)) {
      expect(allowed(name, 's3:GetObject', 's3:GetObjectVersion'), name).toEqual(buckets);
      // Whoever may not list is told 403 of what is missing, and would take it for a fault.
      expect(allowed(name, 's3:ListBucket'), name).toEqual(buckets);
      expect(allowed(name, 's3:PutObject'), name).toEqual(name.match(/scan|backfill/) ? ['evidence'] : []);
    }
  });

  it('allows no wildcard action to anybody but the account that owns a key', () => {
    const allowed = stage.all
      .flatMap(({ id, Properties = {} }) => [
        ...['PolicyDocument', 'KeyPolicy'].map((name) => ({ id, document: Properties[name] })),
        ...[Properties['Policies'] ?? []].flat().map((policy) => ({ id, document: policy.PolicyDocument })),
      ])
      .flatMap(({ id, document }) =>
        [document?.Statement ?? []].flat().map((statement: Statement) => ({ id, ...statement })),
      )
      .filter(({ Effect }) => Effect === 'Allow');
    // What makes a key usable at all: its account decides by IAM.
    const ofOwner = ({ Action, Principal }: Statement) =>
      Action === 'kms:*' && JSON.stringify(Principal).includes(':root');

    const actions = allowed.filter((statement) => !ofOwner(statement)).flatMap(({ Action }) => Action);
    expect(actions.length).toBeGreaterThan(30);
    expect(actions.filter((action) => action.includes('*'))).toEqual([]);
    expect(allowed.filter(ofOwner).length).toBe(2);
  });

  it('gives embed no way to any network, and the functions none but to the catalogue and to AWS', () => {
    const groups = stage.ofType('AWS::EC2::SecurityGroup');
    const egressOf = (name: string) =>
      groups.find(({ id }) => id.includes(name))?.Properties['SecurityGroupEgress'] ?? [];
    const functions = stage
      .ofType('AWS::Lambda::Function')
      .filter(({ Properties }) => Properties['VpcConfig']);

    expect(stage.ofType('AWS::EC2::InternetGateway')).toEqual([]);
    expect(stage.ofType('AWS::EC2::NatGateway')).toEqual([]);
    if (stageName === 'local') return expect(functions).toEqual([]);
    expect(functions).toHaveLength(4);
    for (const { id, Properties } of functions) {
      const isolated = JSON.stringify(Properties['VpcConfig'].SecurityGroupIds).includes('IsolatedGroup');
      expect(isolated, id).toBe(id.includes('/embed'));
    }
    // How CloudFormation says "nowhere": an empty list would be "everywhere".
    expect(egressOf('IsolatedGroup')).toMatchObject([{ CidrIp: '255.255.255.255/32' }]);
    expect(egressOf('FunctionsGroup')).toMatchObject([{ CidrIp: '0.0.0.0/0', FromPort: 443, ToPort: 443 }]);
  });

  it('lets a flood of uploads wait, and a backfill wait beside it', () => {
    const settings = config.context.stages[stageName];
    const budgets = Object.fromEntries(
      stage.ofType('AWS::Lambda::EventSourceMapping').map(({ Properties }) => [
        /(scanRequests|scanBackfill|registerRequests)/.exec(JSON.stringify(Properties['EventSourceArn']))![0],
        {
          wakes: String(Properties['FunctionName'].Ref).replace(/[0-9A-F]{8}$/, ''),
          atOnce: Properties['ScalingConfig'].MaximumConcurrency,
        },
      ]),
    );
    const embed = stage
      .ofType('AWS::Lambda::Function')
      .find(({ Properties }) => Properties['PackageType'] === 'Image')!;

    expect(budgets).toEqual({
      scanRequests: { wakes: 'scan', atOnce: settings.scanConcurrency },
      scanBackfill: { wakes: 'backfill', atOnce: settings.backfillConcurrency },
      registerRequests: { wakes: 'register', atOnce: settings.registerConcurrency },
    });
    expect(embed.Properties['ReservedConcurrentExecutions']).toBe(settings.embedConcurrency);
  });

  it('keeps every bucket private, versioned, encrypted and TLS only', () => {
    const buckets = stage.ofType('AWS::S3::Bucket');
    expect(buckets.length).toBe(4);
    for (const { id, Properties } of buckets) {
      expect(Properties['PublicAccessBlockConfiguration'], id).toEqual({
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      });
      expect(Properties['OwnershipControls'].Rules, id).toEqual([{ ObjectOwnership: 'BucketOwnerEnforced' }]);
      expect(Properties['BucketEncryption'], id).toBeDefined();
      if (!id.includes('AccessLogs'))
        expect(Properties['VersioningConfiguration'], id).toEqual({ Status: 'Enabled' });
      const rules = Properties['LifecycleConfiguration'].Rules;
      expect(rules[0], id).toMatchObject({
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 },
        NoncurrentVersionExpiration: { NoncurrentDays: 30 },
        Status: 'Enabled',
      });
      // References stay for as long as they are registered; everything else ends by itself.
      const expires = rules.some((rule: object) => 'ExpirationInDays' in rule);
      expect(expires, id).toBe(!id.includes('/References'));
    }
    const policies = JSON.stringify(stage.ofType('AWS::S3::BucketPolicy'));
    expect(policies.match(/"aws:SecureTransport":"false"/g)?.length).toBe(buckets.length);
  });

  it('uses one key for what is kept and another for what is sent', () => {
    expect(stage.ofType('AWS::KMS::Key').length).toBe(2);
    for (const { id, Properties } of stage.ofType('AWS::KMS::Key')) {
      expect(Properties['EnableKeyRotation'], id).toBe(true);
    }
  });

  it('asks for merging every night, by a message that nobody but the schedule may send', () => {
    const rules = stage
      .ofType('AWS::Events::Rule')
      .filter(({ Properties }) => Properties['ScheduleExpression']);
    const [rule] = rules;
    const statements = stage
      .ofType('AWS::SQS::QueuePolicy')
      .flatMap(({ Properties }) => Properties['PolicyDocument'].Statement)
      .filter(({ Principal }) => Principal.Service === 'events.amazonaws.com');
    const ruleArn = { 'Fn::GetAtt': [rule!.id.split('/').at(-1), 'Arn'] };

    expect(rules).toHaveLength(1);
    expect(rule!.Properties['ScheduleExpression']).toBe('cron(0 3 * * ? *)');
    expect(rule!.Properties['Targets'].map(({ Input }: { Input: string }) => isMergeRequest(Input))).toEqual([
      true,
    ]);
    expect(statements).toHaveLength(1);
    expect(statements[0]).toMatchObject({
      Action: 'sqs:SendMessage',
      Resource: rule!.Properties['Targets'][0].Arn,
      Condition: { ArnEquals: { 'aws:SourceArn': ruleArn } },
    });
  });

  it('wakes somebody for every alarm, and says what to do', () => {
    const runbook = readFileSync(new URL('../../RUNBOOK.md', import.meta.url), 'utf8');
    const sections = [...runbook.matchAll(/^## (\S+)$/gm)].map(([, name]) => name);
    expect(sections.toSorted()).toEqual(Object.keys(ALARMS).toSorted());
    const needsNoCluster = Object.keys(ALARMS).filter((name) => !name.startsWith('catalogue'));
    const wanted = stage.stacks.catalogue ? Object.keys(ALARMS) : needsNoCluster;
    const rung = new Set(
      stage.ofType('AWS::CloudWatch::Alarm').map(({ Properties }) => Properties['AlarmName'].split('-')[2]),
    );
    // Serverless tells nothing of its memory.
    expect([...rung].toSorted()).toEqual(
      wanted.filter((name) => stageName !== 'serverless' || name !== 'catalogueMemory').toSorted(),
    );
    const links = Object.keys(ALARMS).map((name) => runbookLink(name as keyof typeof ALARMS));
    for (const { id, Properties } of stage.ofType('AWS::CloudWatch::Alarm')) {
      expect(Properties['AlarmActions']?.length, id).toBe(1);
      expect(
        links.some((link) => Properties['AlarmDescription'].includes(link)),
        id,
      ).toBe(true);
    }
  });

  it('watches its metrics under the name that the functions count under', () => {
    const counting = stage
      .ofType('AWS::Lambda::Function')
      .map(({ Properties }) => Properties['Environment']?.Variables.POWERTOOLS_SERVICE_NAME)
      .filter(Boolean);
    const watched = stage
      .ofType('AWS::CloudWatch::Alarm')
      .flatMap(
        ({ Properties }) => JSON.stringify(Properties).match(/"Name":"service","Value":"[^"]*"/g) ?? [],
      );

    expect(new Set(counting)).toEqual(new Set([`refrain-${stageName}`]));
    expect(new Set(watched)).toEqual(new Set([`"Name":"service","Value":"refrain-${stageName}"`]));
  });

  it('passes cdk-nag, but for exceptions that carry a reason', () => {
    expect(() => stage.app.synth()).not.toThrow();
  });
});

describe('the catalogue', () => {
  it.each(['dev', 'prod'])(
    'of stage %s is a domain that is encrypted, private, and opened by IAM alone',
    (name) => {
      const { ofType } = synthesise(name);
      const [domain] = ofType('AWS::OpenSearchService::Domain');
      const zones = name === 'prod' ? 2 : 1;

      expect(domain!.Properties).toMatchObject({
        EncryptionAtRestOptions: { Enabled: true, KmsKeyId: expect.anything() },
        NodeToNodeEncryptionOptions: { Enabled: true },
        DomainEndpointOptions: { EnforceHTTPS: true, TLSSecurityPolicy: 'Policy-Min-TLS-1-2-PFS-2023-10' },
      });
      expect(domain!.Properties['VPCOptions'].SubnetIds).toHaveLength(zones);
      // With neither a policy of its own nor users of its own, IAM policies are the only way in.
      expect(domain!.Properties).not.toHaveProperty('AccessPolicies');
      expect(domain!.Properties['AdvancedSecurityOptions']?.InternalUserDatabaseEnabled ?? false).toBe(false);
    },
  );

  it('may be a collection of OpenSearch Serverless, private, under our key, open to the functions that use it', () => {
    const { ofType } = synthesise('serverless');
    const [collection] = ofType('AWS::OpenSearchServerless::Collection');
    const policies = ofType('AWS::OpenSearchServerless::SecurityPolicy').map(({ Properties }) =>
      JSON.stringify(Properties['Policy']),
    );
    const access = ofType('AWS::OpenSearchServerless::AccessPolicy').map(({ Properties }) => Properties);
    const environments = ofType('AWS::Lambda::Function')
      .map(({ Properties }) => Properties['Environment']?.Variables)
      .filter(Boolean);

    expect(collection!.Properties['Type']).toBe('VECTORSEARCH');
    expect(policies.find((policy) => policy.includes('AWSOwnedKey'))).toMatch(
      /AWSOwnedKey\\":false.*KmsARN.*DataKey/,
    );
    expect(policies.find((policy) => policy.includes('SourceVPCEs'))).toContain('AllowFromPublic\\":false');
    expect(access.map(({ Name }) => Name).toSorted()).toEqual([
      'refrain-serverless-backfill',
      'refrain-serverless-register',
      'refrain-serverless-scan',
    ]);
    for (const { Name } of access) expect(Name.length, Name).toBeLessThanOrEqual(32);
    expect(JSON.stringify(access)).not.toContain('aoss:*');
    expect(environments).toHaveLength(3);
    for (const environment of environments) {
      expect(environment).toMatchObject({
        REFRAIN_OPENSEARCH_AUTH: 'sigv4',
        REFRAIN_OPENSEARCH_SERVICE: 'aoss',
        REFRAIN_OPENSEARCH_ENGINE: 'faiss',
      });
    }
  });
});

describe('the stage settings', () => {
  it('say all that is wrong with them at once', () => {
    const broken = { ...config.context.stages.dev, removal: 'maybe', scanConcurrency: 1 };
    expect(() => readStage('broken', { broken })).toThrow(
      /removal[\s\S]*scanConcurrency|scanConcurrency[\s\S]*removal/,
    );
  });

  it('leave no node of the catalogue without a shard', () => {
    const idle = { ...config.context.stages.prod };
    idle.catalogue = { ...idle.catalogue, replicas: 0 };
    expect(() => readStage('idle', { idle })).toThrow('shards x (1 + replicas)');
  });

  it('keep a copy of each shard of production in either zone, where the functions make the index', () => {
    const functions = synthesise('prod')
      .ofType('AWS::Lambda::Function')
      .map(({ Properties }) => Properties['Environment']?.Variables)
      .filter(Boolean);
    const copies = functions.map(({ REFRAIN_OPENSEARCH_REPLICAS }) => Number(REFRAIN_OPENSEARCH_REPLICAS));
    expect(copies).toHaveLength(3);
    expect(Math.min(...copies)).toBeGreaterThanOrEqual(1);
  });

  it('tell both scan functions how many segments they may leave out, and nobody else', () => {
    const dev = { ...config.context.stages.dev, scanStride: 3 };
    const { ofType } = synthesise('dev', { dev });
    const told = ofType('AWS::Lambda::Function').map(({ Properties }) => [
      String(Properties['FunctionName']).split('-').at(-1),
      Properties['Environment']?.Variables.REFRAIN_SCAN_STRIDE,
    ]);

    expect(told.filter(([, stride]) => stride !== undefined)).toEqual([
      ['scan', '3'],
      ['backfill', '3'],
    ]);
  });

  it('name the stages that there are', () => {
    expect(() => readStage('prdo', config.context.stages)).toThrow('only dev, prod, serverless, local');
  });

  it('keep what production holds when a stack is deleted', () => {
    const { stacks } = synthesise('prod');
    Template.fromStack(stacks.storage).allResources(
      'AWS::S3::Bucket',
      Match.objectLike({ DeletionPolicy: 'Retain' }),
    );
  });
});

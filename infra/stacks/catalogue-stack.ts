import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { EbsDeviceVolumeType, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { PolicyStatement, type Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Key } from 'aws-cdk-lib/aws-kms';
import { LogGroup, ResourcePolicy, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Domain, EngineVersion, TLSSecurityPolicy } from 'aws-cdk-lib/aws-opensearchservice';
import type { Construct } from 'constructs';
import { acknowledge, acknowledgeResource } from '../acknowledge.ts';
import { createNetwork, type Network, ZONES } from '../network.ts';
import type { Stage } from '../stage.ts';

/** What the functions need to know of the catalogue, whoever runs it. */
export interface CatalogueAccess {
  endpoint: string;
  /** What requests are signed for: a domain or a collection. Absent when they are not signed. */
  signedFor?: 'es' | 'aoss';
  /** Where the functions must live to reach it; absent when it is reached from anywhere. */
  network?: Network;
  /** What its alarms watch, and from where on they ring; none when somebody else runs it. */
  watched: Partial<Record<'catalogueLatency' | 'catalogueMemory' | 'catalogueStatus', Watched>>;
  allowUse(role: Role): void;
}

export interface Watched {
  metric: Metric;
  above: number;
}

/** A cluster that exists already, and whose owner says who may use it. */
export const externalCatalogue = (endpoint: string): CatalogueAccess => ({
  endpoint,
  watched: {},
  allowUse() {},
});

/** The reference catalogue: an OpenSearch domain in private subnets. */
export class CatalogueStack extends Stack implements CatalogueAccess {
  readonly endpoint: string;
  readonly signedFor = 'es';
  readonly network: Network;
  readonly watched: Required<CatalogueAccess['watched']>;
  readonly #domainName: string;

  constructor(
    scope: Construct,
    id: string,
    stage: Stage,
    settings: Extract<Stage['catalogue'], { kind: 'domain' }>,
    dataKey: Key,
    props: StackProps,
  ) {
    super(scope, id, props);
    this.#domainName = `refrain-${stage.name}`;
    this.network = createNetwork(this);
    const { vpc, functions } = this.network;
    const cluster = new SecurityGroup(this, 'ClusterGroup', { vpc, allowAllOutbound: false });
    cluster.addIngressRule(functions, Port.tcp(443), 'functions that search and index');
    functions.addEgressRule(cluster, Port.tcp(443), 'the catalogue');

    const { logs, policy } = this.#logs();
    const zones = Math.min(settings.dataNodes, ZONES);
    const domain = new Domain(this, 'Catalogue', {
      domainName: this.#domainName,
      version: EngineVersion.OPENSEARCH_3_5,
      vpc,
      vpcSubnets: [{ subnets: vpc.isolatedSubnets.slice(0, zones) }],
      securityGroups: [cluster],
      capacity: {
        dataNodes: settings.dataNodes,
        dataNodeInstanceType: settings.dataNodeType,
        multiAzWithStandbyEnabled: false,
        ...(settings.dedicatedMasters > 0 && {
          masterNodes: settings.dedicatedMasters,
          masterNodeInstanceType: 'm7g.large.search',
        }),
      },
      ...(zones > 1 && { zoneAwareness: { enabled: true, availabilityZoneCount: zones } }),
      ebs: { volumeSize: settings.volumeGiB, volumeType: EbsDeviceVolumeType.GP3 },
      encryptionAtRest: { enabled: true, kmsKey: dataKey },
      nodeToNodeEncryption: true,
      enforceHttps: true,
      tlsSecurityPolicy: TLSSecurityPolicy.TLS_1_2_PFS,
      logging: {
        appLogEnabled: true,
        appLogGroup: logs.app,
        slowSearchLogEnabled: true,
        slowSearchLogGroup: logs.slowSearch,
        slowIndexLogEnabled: true,
        slowIndexLogGroup: logs.slowIndex,
      },
      // CDK would grant the logs through a function with a wildcard role; a policy of our own does without.
      suppressLogsResourcePolicy: true,
      removalPolicy: stage.removalPolicy,
    });
    domain.node.addDependency(policy);
    acknowledge(domain, {
      'AwsSolutions-OS5':
        'Each role names what it may do (allowUse); a policy of the domain beside them would be a second truth.',
      'AwsSolutions-OS3': 'It lives in private subnets; its security group lets only the functions in.',
      ...(settings.dedicatedMasters === 0 && {
        'AwsSolutions-OS4': 'A development stage does without dedicated masters.',
      }),
      ...(settings.dataNodes < 2 && { 'AwsSolutions-OS7': 'A development stage lives in one zone.' }),
    });
    this.endpoint = `https://${domain.domainEndpoint}`;
    this.watched = {
      catalogueLatency: { metric: domain.metricSearchLatency({ statistic: 'p99' }), above: 2000 },
      catalogueMemory: { metric: domain.metricJVMMemoryPressure(), above: 85 },
      catalogueStatus: { metric: domain.metricClusterStatusRed(), above: 0 },
    };

    // What runs by the hour, for whoever asks what the deployment costs.
    new CfnOutput(this, 'catalogueDataNodeType', { value: settings.dataNodeType });
    new CfnOutput(this, 'catalogueDataNodes', { value: String(settings.dataNodes) });
    new CfnOutput(this, 'catalogueVolumeGiB', { value: String(settings.volumeGiB) });
    new CfnOutput(this, 'catalogueDedicatedMasters', { value: String(settings.dedicatedMasters) });
  }

  /** Reading, writing and deleting in the indexes of the catalogue: nothing of the cluster itself. */
  allowUse(role: Role): void {
    const resource = `${this.formatArn({ service: 'es', resource: 'domain', resourceName: this.#domainName })}/*`;
    const actions = ['es:ESHttpGet', 'es:ESHttpHead', 'es:ESHttpPost', 'es:ESHttpPut', 'es:ESHttpDelete'];
    role.addToPrincipalPolicy(new PolicyStatement({ actions, resources: [resource] }));
    acknowledgeResource(
      role,
      resource,
      'Names of indexes follow from models, which come and go at run time.',
    );
  }

  /** Lets the domain write its logs. */
  #logs() {
    const logs = {
      app: new LogGroup(this, 'AppLog', { retention: RetentionDays.THREE_MONTHS }),
      slowSearch: new LogGroup(this, 'SlowSearchLog', { retention: RetentionDays.ONE_MONTH }),
      slowIndex: new LogGroup(this, 'SlowIndexLog', { retention: RetentionDays.ONE_MONTH }),
    };
    const policy = new ResourcePolicy(this, 'LogPolicy', {
      policyStatements: [
        new PolicyStatement({
          principals: [new ServicePrincipal('es.amazonaws.com')],
          actions: ['logs:PutLogEvents', 'logs:CreateLogStream'],
          resources: Object.values(logs).map(({ logGroupArn }) => logGroupArn),
          conditions: { StringEquals: { 'aws:SourceAccount': this.account } },
        }),
      ],
    });
    return { logs, policy };
  }
}

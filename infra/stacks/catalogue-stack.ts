import { RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import {
  EbsDeviceVolumeType,
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  type ISecurityGroup,
  Peer,
  Port,
  SecurityGroup,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import type { IRole } from 'aws-cdk-lib/aws-iam';
import type { Key } from 'aws-cdk-lib/aws-kms';
import { Domain, EngineVersion, TLSSecurityPolicy } from 'aws-cdk-lib/aws-opensearchservice';
import type { Construct } from 'constructs';
import { acknowledge } from '../acknowledge.ts';
import type { Stage } from '../stage.ts';

/** What a function needs to live beside the catalogue. */
export interface Network {
  vpc: Vpc;
  /** Reaches the catalogue and the endpoints of AWS's services; nothing else. */
  functions: ISecurityGroup;
  /** Reaches nothing at all. */
  isolated: ISecurityGroup;
}

/** The reference catalogue: an OpenSearch domain in private subnets, or the address of one that exists. */
export class CatalogueStack extends Stack {
  readonly endpoint: string;
  readonly network: Network | undefined;
  readonly domain: Domain | undefined;

  constructor(scope: Construct, id: string, stage: Stage, dataKey: Key, props: StackProps) {
    super(scope, id, props);
    const settings = stage.catalogue;
    if (settings.kind === 'external') {
      this.endpoint = settings.endpoint;
      return;
    }

    this.network = this.#network(Math.min(3, Math.max(2, settings.dataNodes)));
    const { vpc, functions } = this.network;
    const cluster = new SecurityGroup(this, 'ClusterGroup', { vpc, allowAllOutbound: false });
    cluster.addIngressRule(functions, Port.tcp(443), 'functions that search and index');
    functions.addEgressRule(cluster, Port.tcp(443), 'the catalogue');

    const zones = Math.min(settings.dataNodes, 3);
    this.domain = new Domain(this, 'Catalogue', {
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
      logging: { slowSearchLogEnabled: true, slowIndexLogEnabled: true, appLogEnabled: true },
      // CDK would put a function with a wildcard role in between; without these the domain uses its own policy only.
      suppressLogsResourcePolicy: false,
      removalPolicy: stage.removal === 'retain' ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    acknowledge(this.domain, {
      'AwsSolutions-OS3': 'It lives in private subnets; its security group lets only the functions in.',
      ...(settings.dedicatedMasters === 0 && {
        'AwsSolutions-OS4': 'A development stage does without dedicated masters.',
      }),
      ...(settings.dataNodes < 2 && { 'AwsSolutions-OS7': 'A development stage lives in one zone.' }),
    });
    this.endpoint = `https://${this.domain.domainEndpoint}`;
  }

  /** Searching and writing documents, and managing the indexes of the catalogue: nothing of the cluster itself. */
  grantUse(role: IRole): void {
    this.domain?.grantReadWrite(role);
  }

  /** Isolated subnets without a way to the internet; AWS's services are reached through endpoints. */
  #network(zones: number): Network {
    const vpc = new Vpc(this, 'Network', {
      maxAzs: zones,
      natGateways: 0,
      subnetConfiguration: [{ name: 'isolated', subnetType: SubnetType.PRIVATE_ISOLATED }],
      gatewayEndpoints: {
        s3: { service: GatewayVpcEndpointAwsService.S3 },
        dynamo: { service: GatewayVpcEndpointAwsService.DYNAMODB },
      },
      flowLogs: { all: {} },
    });
    const functions = new SecurityGroup(this, 'FunctionsGroup', { vpc, allowAllOutbound: false });
    // S3 and DynamoDB are reached by route, not by address.
    functions.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'endpoints of AWS services');
    for (const [name, service] of Object.entries({
      Sqs: InterfaceVpcEndpointAwsService.SQS,
      Lambda: InterfaceVpcEndpointAwsService.LAMBDA,
      Events: InterfaceVpcEndpointAwsService.EVENTBRIDGE,
    })) {
      vpc
        .addInterfaceEndpoint(name, { service, open: false })
        .connections.allowFrom(functions, Port.tcp(443));
    }
    const isolated = new SecurityGroup(this, 'IsolatedGroup', { vpc, allowAllOutbound: false });
    return { vpc, functions, isolated };
  }
}

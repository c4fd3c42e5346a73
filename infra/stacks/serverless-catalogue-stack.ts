import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { Port, SecurityGroup, SubnetType } from 'aws-cdk-lib/aws-ec2';
import { PolicyStatement, type Role } from 'aws-cdk-lib/aws-iam';
import type { Key } from 'aws-cdk-lib/aws-kms';
import {
  CfnAccessPolicy,
  CfnCollection,
  CfnSecurityPolicy,
  CfnVpcEndpoint,
} from 'aws-cdk-lib/aws-opensearchserverless';
import type { Construct } from 'constructs';
import { createNetwork, type Network } from '../network.ts';
import type { Stage } from '../stage.ts';
import type { CatalogueAccess } from './catalogue-stack.ts';

/**
 * The reference catalogue in a vector collection of OpenSearch Serverless: encrypted with our key, reached through one
 * endpoint in private subnets, and by no role that `allowUse` was not told of.
 *
 * No nodes to choose; what it costs follows from what is asked of it. Documents get ids of their own, and what is written is
 * found up to a minute later; functions/adapters/aws/serverless-catalogue.ts lives with both.
 */
export class ServerlessCatalogueStack extends Stack implements CatalogueAccess {
  readonly endpoint: string;
  readonly signedFor = 'aoss';
  readonly network: Network;
  readonly watched: CatalogueAccess['watched'];
  readonly #name: string;
  readonly #collection: CfnCollection;

  constructor(
    scope: Construct,
    id: string,
    stage: Stage,
    settings: Extract<Stage['catalogue'], { kind: 'serverless' }>,
    dataKey: Key,
    props: StackProps,
  ) {
    super(scope, id, props);
    this.#name = `refrain-${stage.name}`;
    this.network = createNetwork(this);
    const resources = [{ ResourceType: 'collection', Resource: [`collection/${this.#name}`] }];

    const encryption = new CfnSecurityPolicy(this, 'Encryption', {
      name: this.#name,
      type: 'encryption',
      policy: this.toJsonString({ Rules: resources, AWSOwnedKey: false, KmsARN: dataKey.keyArn }),
    });
    const access = new CfnSecurityPolicy(this, 'NetworkAccess', {
      name: this.#name,
      type: 'network',
      policy: this.toJsonString([
        { Rules: resources, AllowFromPublic: false, SourceVPCEs: [this.#entrance().attrId] },
      ]),
    });
    this.#collection = new CfnCollection(this, 'Catalogue', {
      name: this.#name,
      type: 'VECTORSEARCH',
      standbyReplicas: settings.standby ? 'ENABLED' : 'DISABLED',
    });
    // A collection is refused where no policy says how it is encrypted.
    this.#collection.addResourceDependency(encryption);
    this.#collection.addResourceDependency(access);
    this.#collection.applyRemovalPolicy(stage.removalPolicy);
    this.endpoint = this.#collection.attrCollectionEndpoint;
    // For whoever asks what the deployment costs: there is something, though nobody can tell its price beforehand.
    new CfnOutput(this, 'catalogueDataNodeType', { value: 'serverless' });
    new CfnOutput(this, 'catalogueDataNodes', { value: '1' });
    this.watched = {
      catalogueLatency: { metric: this.#metric('SearchRequestLatency', 'avg'), above: 2000 },
      catalogueStatus: { metric: this.#metric('5xx', 'sum'), above: 10 },
    };
  }

  /** Serverless asks twice: IAM, whether the role may call collections at all, and the collection, for what. */
  allowUse(role: Role): void {
    const arn = this.#collection.attrArn;
    role.addToPrincipalPolicy(new PolicyStatement({ actions: ['aoss:APIAccessAll'], resources: [arn] }));
    const policy = [
      {
        Rules: [
          {
            ResourceType: 'index',
            Resource: [`index/${this.#name}/refrain-*`],
            Permission: ['aoss:CreateIndex', 'aoss:DescribeIndex', 'aoss:ReadDocument', 'aoss:WriteDocument'],
          },
        ],
        Principal: [role.roleArn],
      },
    ];
    new CfnAccessPolicy(role, 'CatalogueAccess', {
      name: `${this.#name}-${role.node.id.replace(/Role$/, '')}`,
      type: 'data',
      policy: Stack.of(role).toJsonString(policy),
    });
  }

  /** The one way in, for the functions alone. */
  #entrance(): CfnVpcEndpoint {
    const { vpc, functions } = this.network;
    const group = new SecurityGroup(this, 'EntranceGroup', { vpc, allowAllOutbound: false });
    group.addIngressRule(functions, Port.tcp(443), 'functions that search and index');
    const { subnetIds } = vpc.selectSubnets({ subnetType: SubnetType.PRIVATE_ISOLATED });
    return new CfnVpcEndpoint(this, 'Entrance', {
      name: this.#name,
      vpcId: vpc.vpcId,
      subnetIds,
      securityGroupIds: [group.securityGroupId],
    });
  }

  #metric(metricName: string, statistic: string): Metric {
    return new Metric({
      namespace: 'AWS/AOSS',
      metricName,
      dimensionsMap: {
        ClientId: this.account,
        CollectionId: this.#collection.attrId,
        CollectionName: this.#name,
      },
      statistic,
    });
  }
}

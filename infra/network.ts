import {
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  type ISecurityGroup,
  Peer,
  Port,
  SecurityGroup,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import type { Construct } from 'constructs';

/** What a function needs to live beside the catalogue. */
export interface Network {
  vpc: Vpc;
  /** Reaches the catalogue and the endpoints of AWS's services; nothing else. */
  functions: ISecurityGroup;
  /** Reaches nothing at all. */
  isolated: ISecurityGroup;
}

/** A stack that is not bound to one region can count on two zones. */
export const ZONES = 2;

/** Isolated subnets without a way to the internet; AWS's services are reached through endpoints. */
export function createNetwork(scope: Construct): Network {
  const vpc = new Vpc(scope, 'Network', {
    maxAzs: ZONES,
    natGateways: 0,
    subnetConfiguration: [{ name: 'isolated', subnetType: SubnetType.PRIVATE_ISOLATED }],
    gatewayEndpoints: {
      s3: { service: GatewayVpcEndpointAwsService.S3 },
      dynamo: { service: GatewayVpcEndpointAwsService.DYNAMODB },
    },
    flowLogs: { all: {} },
  });
  const functions = new SecurityGroup(scope, 'FunctionsGroup', { vpc, allowAllOutbound: false });
  // S3 and DynamoDB are reached by route, not by address.
  functions.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'endpoints of AWS services');
  for (const [name, service] of Object.entries({
    Sqs: InterfaceVpcEndpointAwsService.SQS,
    Lambda: InterfaceVpcEndpointAwsService.LAMBDA,
    Events: InterfaceVpcEndpointAwsService.EVENTBRIDGE,
  })) {
    vpc.addInterfaceEndpoint(name, { service, open: false }).connections.allowFrom(functions, Port.tcp(443));
  }
  const isolated = new SecurityGroup(scope, 'IsolatedGroup', { vpc, allowAllOutbound: false });
  return { vpc, functions, isolated };
}

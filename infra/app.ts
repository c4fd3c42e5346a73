import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { bundleFunctions } from './bundle.ts';
import { createStacks } from './stacks/index.ts';
import { readStage } from './stage.ts';

const app = new App();
const stage = readStage(app.node.getContext('stage'), app.node.getContext('stages'));
createStacks(app, stage, await bundleFunctions());
Validations.of(app).addPlugins(new AwsSolutionsChecks(app));

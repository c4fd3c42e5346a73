import { connect } from '../adapters/aws/connect.ts';
import { RegisterEnvironment, readEnvironment } from '../config.ts';
import { DEFAULT_SCAN_SETTINGS } from '../scan/dependencies.ts';
import { createRegisterHandler } from './handler.ts';

const { dependencies, lambdaHandler } = await connect('register', readEnvironment(RegisterEnvironment));

export const handler = lambdaHandler(
  createRegisterHandler({ ...dependencies, settings: DEFAULT_SCAN_SETTINGS }),
);

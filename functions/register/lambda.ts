import type { Context, SQSEvent } from 'aws-lambda';
import { connect } from '../adapters/aws/connect.ts';
import { RegisterEnvironment, readEnvironment } from '../config.ts';
import { DEFAULT_SCAN_SETTINGS } from '../scan/dependencies.ts';
import { createRegisterHandler } from './handler.ts';
import { createOperator, isOperation } from './operate.ts';

const { dependencies, lambdaHandler, begin, upkeep } = await connect(
  'register',
  readEnvironment(RegisterEnvironment),
);

const register = lambdaHandler(createRegisterHandler({ ...dependencies, settings: DEFAULT_SCAN_SETTINGS }));
const operate = createOperator({ upkeep });

export const handler = (event: SQSEvent | object, context: Context): Promise<object> => {
  if (!isOperation(event)) return register(event as SQSEvent, context);
  begin(context);
  return operate(event);
};

import { createEmbedHandler } from './handler.ts';
import { OnnxModel } from './onnx-model.ts';

/** Memory that buys one whole core, MB. */
const MB_PER_CORE = 1769;

const folder = process.env.REFRAIN_MODEL_DIR;
if (!folder) throw new Error('REFRAIN_MODEL_DIR is not set: it names the folder of the model to run');
const threads = Math.max(
  1,
  Math.floor(Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE ?? 0) / MB_PER_CORE),
);

export const handler = createEmbedHandler(await OnnxModel.load(folder, { threads }));

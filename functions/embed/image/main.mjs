// The runtime interface client finds handlers in JavaScript only; Node runs the TypeScript behind this line itself.
export { handler } from './functions/embed/lambda.ts';

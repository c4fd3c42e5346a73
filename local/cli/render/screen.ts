import { styleText } from 'node:util';

/** What a text is drawn for: how many columns there are, and whether colours can be seen. */
export interface Screen {
  columns: number;
  colour: boolean;
}

export type Style = Parameters<typeof styleText>[0];

const NARROWEST = 60;
const WIDEST = 120;
const WIDTH_OF_A_PIPE = 100;

/**
 * The screen behind a stream. Honours `NO_COLOR`, `FORCE_COLOR` and `COLUMNS`; a pipe has no colours and 100 columns.
 */
export function screenOf(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv = process.env): Screen {
  const columns = stream.columns || Number(env.COLUMNS) || WIDTH_OF_A_PIPE;
  const forced = Boolean(env.FORCE_COLOR) && env.FORCE_COLOR !== '0' && !env.NO_COLOR;
  return {
    columns: Math.min(WIDEST, Math.max(NARROWEST, columns)),
    colour: forced || (stream.isTTY === true && stream.hasColors()),
  };
}

export function paint(screen: Screen, style: Style, text: string): string {
  return screen.colour ? styleText(style, text, { validateStream: false }) : text;
}

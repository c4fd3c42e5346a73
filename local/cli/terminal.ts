import { ProgressLine } from './progress.ts';
import { paint, type Screen, screenOf } from './render/screen.ts';

/**
 * Where a verb writes. Results go to stdout: for machines (`--jsonl`) a JSON line each, for people a picture.
 * Everything that is said besides goes to stderr.
 */
export class Terminal {
  readonly jsonl: boolean;
  readonly screen: Screen;
  readonly progress: ProgressLine;
  readonly #errorScreen: Screen;

  constructor(jsonl: boolean) {
    this.jsonl = jsonl;
    this.screen = screenOf(process.stdout);
    this.#errorScreen = screenOf(process.stderr);
    this.progress = new ProgressLine(process.stderr, this.#errorScreen);
  }

  /** One result. */
  result(record: object, picture: (screen: Screen) => readonly string[]): void {
    this.progress.clear();
    const lines = this.jsonl ? [JSON.stringify(record)] : picture(this.screen);
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** Results as one table; `--jsonl` gives a line for each. */
  list<T extends object>(
    records: readonly T[],
    picture: (records: readonly T[], screen: Screen) => readonly string[],
  ): void {
    if (this.jsonl) for (const record of records) this.result(record, () => []);
    else this.say(...picture(records, this.screen));
  }

  /** Words of a summary, which machines do not need. */
  say(...lines: readonly string[]): void {
    this.progress.clear();
    if (!this.jsonl) process.stdout.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** Something that a person should know besides the results. */
  note(text: string): void {
    this.progress.clear();
    process.stderr.write(`${paint(this.#errorScreen, 'yellow', 'note:')} ${text}\n`);
  }

  error(text: string): void {
    this.progress.clear();
    process.stderr.write(`${paint(this.#errorScreen, 'red', 'refrain:')} ${text}\n`);
  }
}

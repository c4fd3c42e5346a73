import { paint, type Screen } from './render/screen.ts';
import { clock, pad, safe, truncate } from './render/text.ts';

/** What is being worked on. */
export interface Work {
  path: string;
  /** Place of this file among all, from 1. */
  file: number;
  files: number;
  heardMs: number;
  /** Absent while (or because) nobody knows how long the file is. */
  totalMs?: number | undefined;
  elapsedMs: number;
}

const BAR = 20;
const REDRAW_MS = 100;
/** Below this, a speed is mostly the time it took to start. */
const SPEED_AFTER_MS = 1000;

/** One line that tells how far the work is: `3/35 song.mp3 ━━━━━━────── 1:20 of 3:25 · 310× real time · 0:01 left`. */
export function renderProgress(work: Work, screen: Screen): string {
  const { path, file, files, totalMs, elapsedMs } = work;
  // The last window reaches beyond the end, and a header may claim too little.
  const heardMs = Math.min(work.heardMs, totalMs ?? work.heardMs);
  const filled = totalMs ? Math.round((heardMs / totalMs) * BAR) : 0;
  const bar = totalMs
    ? paint(screen, 'cyan', '━'.repeat(filled)) + paint(screen, 'dim', '─'.repeat(BAR - filled))
    : '';
  const speed = elapsedMs >= SPEED_AFTER_MS ? heardMs / elapsedMs : 0;
  const facts = [
    totalMs ? `${clock(heardMs)} of ${clock(totalMs)}` : clock(heardMs),
    ...(speed > 0 ? [`${Math.round(speed)}× real time`] : []),
    ...(speed > 0 && totalMs ? [`${clock((totalMs - heardMs) / speed)} left`] : []),
  ].join(' · ');
  const place = files > 1 ? `${file}/${files} ` : '';
  const room = screen.columns - place.length - (bar ? BAR + 1 : 0) - facts.length - 2;
  const name = pad(truncate(safe(path), Math.max(8, room), 'middle'), Math.min(24, Math.max(8, room)));
  return [`${place}${name}`, ...(bar ? [bar] : []), paint(screen, 'dim', facts)].join(' ');
}

/** The progress line of a terminal; in a pipe it does nothing. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #screen: Screen;
  #drawnAt = 0;
  #visible = false;

  constructor(stream: NodeJS.WriteStream, screen: Screen) {
    this.#stream = stream;
    this.#screen = screen;
  }

  show(work: Work): void {
    if (!this.#stream.isTTY || Date.now() - this.#drawnAt < REDRAW_MS) return;
    // One column stays free: some terminals wrap when the last one is written.
    const columns = Math.max(20, (this.#stream.columns || 80) - 1);
    this.#stream.write(`\r\u001b[K${renderProgress(work, { ...this.#screen, columns })}`);
    this.#drawnAt = Date.now();
    this.#visible = true;
  }

  /** Makes room for other text. */
  clear(): void {
    if (this.#visible) this.#stream.write('\r\u001b[K');
    this.#visible = false;
    this.#drawnAt = 0;
  }
}

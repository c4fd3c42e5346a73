import { constants, type Dirent } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { messageOf } from '../../functions/core/errors.ts';
import type { Reason } from '../../functions/core/scan.ts';
import { safe } from './render/text.ts';

/** Files in a folder that are worth opening. A file that is named on the command line is opened whatever it is called. */
const MEDIA = new Set(
  (
    '3g2 3gp aac ac3 aif aifc aiff alac amr ape au avi caf dff dsf eac3 flac flv m4a m4b m4r m4v mka mkv mov mp1 mp2 mp3 ' +
    'mp4 mpc mpeg mpg mpga mts mxf oga ogg ogm ogv opus ra rm shn spx tak tta ts vob w64 wav weba webm wma wmv wv'
  ).split(' '),
);

export interface Found {
  /** As the caller would write it: below the path that was asked for. */
  files: string[];
  /** Paths that cannot be read, in the order of finding. */
  unreadable: { path: string; reason: Reason }[];
  /** Files of folders that are no media by their name, by extension. */
  skipped: Map<string, number>;
}

/** Whether a file in a folder is taken for media: by its extension, or because it has none. Hidden files are not. */
export function looksLikeMedia(path: string): boolean {
  const name = basename(path);
  const extension = extname(name).slice(1).toLowerCase();
  return !name.startsWith('.') && (extension === '' || MEDIA.has(extension));
}

/**
 * Finds the files below the paths, folders with all their sub-folders, in the order of their names. Never throws for
 * what is not there or may not be read: that is told, and the rest goes on. A link to a folder is followed only when
 * it is named itself.
 */
export async function findFiles(paths: readonly string[]): Promise<Found> {
  const found: Found = { files: [], unreadable: [], skipped: new Map() };
  for (const path of paths) await findBelow(path, found);
  found.files = [...new Set(found.files)];
  return found;
}

async function findBelow(path: string, found: Found): Promise<void> {
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) return await findInFolder(path, found);
    if (!stats.isFile()) {
      found.unreadable.push({
        path,
        reason: { code: 'NOT_A_FILE', message: 'this is neither a file nor a folder' },
      });
      return;
    }
    await access(path, constants.R_OK);
    found.files.push(path);
  } catch (error) {
    found.unreadable.push({ path, reason: whyUnreadable(error, path) });
  }
}

async function findInFolder(folder: string, found: Found): Promise<void> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    found.unreadable.push({ path: folder, reason: whyUnreadable(error, folder) });
    return;
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!entry.name.startsWith('.')) await findInFolder(path, found);
    } else if (looksLikeMedia(path)) {
      if (entry.isFile() || (entry.isSymbolicLink() && !(await isFolder(path)))) await findBelow(path, found);
    } else if (!entry.name.startsWith('.')) {
      const extension = extname(path).toLowerCase();
      found.skipped.set(extension, (found.skipped.get(extension) ?? 0) + 1);
    }
  }
}

const isFolder = async (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );

/** Why a path cannot be read, with a code that stays and a sentence that says what to do. */
export function whyUnreadable(error: unknown, path: string): Reason {
  const code = (error as { code?: unknown }).code;
  if (path === '')
    return { code: 'BAD_NAME', message: 'an empty name is no path; is a variable of a script empty?' };
  if (path.includes('\u0000'))
    return { code: 'BAD_NAME', message: 'a path must not contain a NUL character' };
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return path.includes('\uFFFD')
        ? { code: 'BAD_NAME', message: 'the name is not valid UTF-8; rename the file' }
        : { code: 'NOT_FOUND', message: 'there is no such file or folder' };
    case 'EACCES':
    case 'EPERM':
      return { code: 'NOT_READABLE', message: 'permission denied; allow reading it and try again' };
    case 'ELOOP':
      return { code: 'NOT_READABLE', message: 'this link leads in a circle' };
    case 'ENAMETOOLONG':
      return { code: 'BAD_NAME', message: 'the name is too long for this file system' };
    default:
      return { code: 'NOT_READABLE', message: safe(messageOf(error)) };
  }
}

/** `3 files are not media by their names (.jpg, .txt)`; nothing when none was skipped. */
export function skippedWords(skipped: ReadonlyMap<string, number>): string | undefined {
  const total = [...skipped.values()].reduce((a, b) => a + b, 0);
  if (total === 0) return undefined;
  const kinds = [...skipped.keys()].sort().map(safe);
  const shown = kinds.slice(0, 8).join(', ') + (kinds.length > 8 ? ', …' : '');
  return total === 1
    ? `1 file is left out, because it is no media by its name (${shown}); name it to have it opened`
    : `${total} files are left out, because they are no media by their names (${shown}); name them to have them opened`;
}

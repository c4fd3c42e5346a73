import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { matchMetadata, readMetadata } from '../../local/cli/metadata.ts';
import { temporaryFolder } from '../support/audio.ts';

const folder = temporaryFolder();
afterAll(() => folder.remove());

let files = 0;
function write(text: string | Uint8Array, extension = 'csv'): string {
  const path = folder.file(`metadata-${files++}.${extension}`);
  writeFileSync(path, text);
  return path;
}

describe('readMetadata', () => {
  test('reads what a rights-holder says of each file', async () => {
    const path = write(
      'Path,ID,title,artist,ISRC,owner,policy\n' +
        'a.flac,cat-1,"Night, Song",Ada,GB-AYE-68-00123,Night Label,block\n' +
        '\n' +
        'b.flac,,,,,,"{""rules"":[{""action"":""track""}]}"\n',
    );

    const { rows } = await readMetadata(path);

    expect(rows).toEqual([
      {
        where: 'row 2',
        path: 'a.flac',
        referenceId: 'cat-1',
        metadata: {
          title: 'Night, Song',
          artist: 'Ada',
          isrc: 'GBAYE6800123',
          owner: 'Night Label',
          policy: { rules: [{ when: [], action: 'block' }] },
        },
      },
      { where: 'row 4', path: 'b.flac', metadata: { policy: { rules: [{ when: [], action: 'track' }] } } },
    ]);
  });

  test.each([
    ['semicolons', 'file;title\na.mp3;Song, with a comma\n'],
    ['tabs', 'file\ttitle\na.mp3\tSong, with a comma\n'],
    ['a byte order mark and CRLF', '\uFEFFfile,title\r\na.mp3,"Song, with a comma"\r\n'],
  ])('reads a spreadsheet with %s', async (_, text) => {
    const { rows } = await readMetadata(write(text));

    expect(rows).toMatchObject([{ path: 'a.mp3', metadata: { title: 'Song, with a comma' } }]);
  });

  test.each([
    ['a list', [{ path: 'a.mp3', title: 'A', policy: { rules: [{ action: 'block' }] } }]],
    ['an object by path', { 'a.mp3': { title: 'A', policy: { rules: [{ action: 'block' }] } } }],
  ])('reads JSON as %s', async (_, json) => {
    const { rows } = await readMetadata(write(JSON.stringify(json), 'json'));

    expect(rows).toMatchObject([
      { path: 'a.mp3', metadata: { title: 'A', policy: { rules: [{ action: 'block' }] } } },
    ]);
  });

  test.each([
    ['a cell of a spreadsheet', 'path,excluded\na.mp3,"1:05-1:30, 120-130.5"\n', 'csv'],
    ['a list', '[{"path": "a.mp3", "excluded": ["1:05-1:30", "2:00-2:10.5"]}]', 'json'],
    [
      'the milliseconds of a sidecar',
      '[{"path": "a.mp3", "excluded": [{"startMs": 65000, "endMs": 90000}, {"startMs": 120000, "endMs": 130500}]}]',
      'json',
    ],
  ])('reads what is excluded from %s', async (_, text, extension) => {
    const { rows } = await readMetadata(write(text, extension));

    expect(rows[0]!.metadata.excluded).toEqual([
      { startMs: 65_000, endMs: 90_000 },
      { startMs: 120_000, endMs: 130_500 },
    ]);
  });

  test.each([
    ['path,excluded\na.mp3,soon\n', 'csv', /row 2, column "excluded": "soon": "soon" is no stretch of time/],
    ['path,excluded\na.mp3,1:30-1:05\n', 'csv', /column "excluded": .* ends before it begins/],
    ['[{"path": "a.mp3", "excluded": [{"startMs": 5, "endMs": 5}]}]', 'json', /entry 1, column "excluded"/],
    ['[{"path": "a.mp3", "excluded": 7}]', 'json', /entry 1, column "excluded": must be stretches of time/],
  ])('refuses %j', async (text, extension, message) => {
    await expect(readMetadata(write(text, extension))).rejects.toThrow(message);
  });

  test('tells of columns that mean nothing', async () => {
    const { unused } = await readMetadata(write('path,titel,genre\na.mp3,A,Jazz\n'));

    expect(unused).toEqual(['titel', 'genre']);
  });

  test('names row and column of everything that is wrong, all at once', async () => {
    const path = write('path,id,isrc,policy\na.mp3,x,nonsense,\n,,,\nb.mp3,x,,destroy\n,y,,\n');

    const error = await readMetadata(path).catch((thrown: Error) => thrown.message);

    expect(error).toContain('row 2, column "isrc": "nonsense": an ISRC looks like GB-AYE-68-00123');
    expect(error).toContain('row 4, column "policy": is neither an action');
    expect(error).toContain('row 5, column "path": names no file');
    expect(error).not.toContain('row 3');
  });

  test('an id belongs to one row', async () => {
    await expect(readMetadata(write('path,id\na.mp3,x\nb.mp3,x\n'))).rejects.toThrow(
      'row 3, column "id": "x" is the id of row 2 already',
    );
  });

  test.each([
    ['no column names a file', 'title,artist\nA,B\n', 'csv', /no column "path"/],
    ['a row has too many cells', 'path,title\na.mp3,Song, with a comma\n', 'csv', /row 2: has 3 cells/],
    ['a quote is never closed', 'path,title\na.mp3,"Song\n', 'csv', /is not a CSV file/],
    ['it is empty', '', 'csv', /no column "path"/],
    ['it is not UTF-8', Uint8Array.of(0x70, 0xff, 0xfe), 'csv', /is not UTF-8/],
    ['the JSON is broken', '[{', 'json', /is not JSON/],
    ['the JSON is something else', '3', 'json', /must be a list of entries/],
  ])('refuses a file where %s', async (_, text, extension, message) => {
    await expect(readMetadata(write(text, extension))).rejects.toThrow(message);
  });

  test('says that the file is missing', async () => {
    await expect(readMetadata(folder.file('missing.csv'))).rejects.toThrow(/there is no such file/);
  });
});

describe('matchMetadata', () => {
  const rowsOf = (...paths: string[]) =>
    paths.map((path, i) => ({ where: `row ${i + 2}`, path, metadata: {} }));
  const files = ['/music/one/a.mp3', '/music/two/a.mp3', '/music/two/b.mp3'];

  test.each([
    ['by its absolute path', '/music/one/a.mp3', '/music/one/a.mp3'],
    ['by its path from the metadata file', 'two/a.mp3', '/music/two/a.mp3'],
    ['by a name that only one has', 'b.mp3', '/music/two/b.mp3'],
    ['by the end of its path', 'one\\a.mp3', '/music/one/a.mp3'],
  ])('finds a file %s', (_, path, file) => {
    expect([...matchMetadata(rowsOf(path), files, '/music/meta.csv').keys()]).toEqual([file]);
  });

  test('refuses what matches no file, several, or one that is taken', () => {
    const match = () => matchMetadata(rowsOf('c.mp3', 'a.mp3', 'b.mp3', 'two/b.mp3'), files, '/meta/m.csv');

    expect(match).toThrow(/row 2, column "path": "c\.mp3" is none of the 3 files/);
    expect(match).toThrow(/row 3, column "path": "a\.mp3" may be any of 2 files/);
    expect(match).toThrow(/row 5, column "path": "two\/b\.mp3" was described by row 4 already/);
  });

  test('a name is matched whole', () => {
    expect(() => matchMetadata(rowsOf('song.mp3'), ['/x/other-song.mp3'], '/x/m.csv')).toThrow(/is none of/);
  });
});

import { scanIdOf } from '../core/ids.ts';
import { objectCreated } from '../core/requests.ts';
import type { ScanRecord } from '../core/scan.ts';
import type { Clock } from '../ports/clock.ts';
import type { QueueSender } from '../ports/queue.ts';
import type { ScanStore } from '../ports/stores.ts';

/** The record of a scan that starts over under its old name: a verdict rests on the catalogue and rules as they were. */
export const begunAnew = (
  { scanId, upload, attempts }: ScanRecord,
  { id, sha256 }: ScanRecord['model'],
  now: Date,
): ScanRecord => ({
  scanId,
  upload,
  model: { id, sha256 },
  state: 'scanning',
  unsearched: [],
  detections: [],
  announced: false,
  attempts,
  startedAt: now.toISOString(),
});

/**
 * Asks for the scan of an upload again: the same version of the same object, with the model of today. One that is not
 * finished goes on where it stopped.
 * @returns the id to follow; another one than before where the model is another
 */
export async function replay(
  scan: ScanRecord,
  model: ScanRecord['model'],
  { scans, scanRequests, clock }: { scans: ScanStore; scanRequests: QueueSender; clock: Clock },
): Promise<string> {
  const scanId = scanIdOf(scan.upload, model.id);
  const known = scanId === scan.scanId ? scan : await scans.get(scanId);
  if (known?.state === 'done') await scans.put(begunAnew(known, model, clock.now()));
  await scanRequests.send(objectCreated(scan.upload));
  return scanId;
}

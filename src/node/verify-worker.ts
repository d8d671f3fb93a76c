/** A thread that verifies segments of a log, one after another as they are sent. */
import { parentPort } from 'node:worker_threads';
import { verifySegment, type CleanSegment, type SegmentTask } from '../receipts/segment.ts';

export interface WorkerAnswer {
  /** Handed back, for it was handed over. */
  bytes: Uint8Array;
  segment: CleanSegment | undefined;
}

parentPort?.on('message', (task: SegmentTask) => {
  const { bytes } = task;
  const segment = verifySegment(task);
  const answer: WorkerAnswer = { bytes, segment };
  const buffers = [bytes.buffer, segment?.ends.buffer, segment?.leaves?.buffer];
  parentPort?.postMessage(
    answer,
    buffers.filter((buffer): buffer is ArrayBuffer => buffer instanceof ArrayBuffer),
  );
});

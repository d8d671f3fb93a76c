/** The receipts of a log, one after another, without their signatures being looked at. */
import { open } from 'node:fs/promises';
import { checkPayload, type Payload } from '../../receipts/payloads.ts';

/** A line that is no receipt. */
export class BadLine extends Error {
  readonly line: number;

  constructor(line: number, problem: string) {
    super(problem);
    this.line = line;
  }
}

const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

export interface ReadOptions {
  /** Not beyond this many bytes: what is appended meanwhile isn't read. */
  end: number;
  /** True when every line was checked before. */
  isChecked?: boolean;
  onProgress?: (done: number, total: number) => void;
}

/** Hands every whole line's payload over. Throws `BadLine` for one that is no receipt. */
export async function readLog(
  file: string,
  { end, isChecked = false, onProgress }: ReadOptions,
  take: (payload: Payload) => void,
): Promise<void> {
  const handle = await open(file, 'r');
  try {
    let rest = Buffer.alloc(0);
    let line = 0;
    for (let position = 0; position < end;) {
      const length = Math.min(CHUNK_BYTES, end - position);
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      const bytes =
        rest.length === 0
          ? buffer.subarray(0, bytesRead)
          : Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      let start = 0;
      for (let stop = bytes.indexOf(NEWLINE); stop >= 0; stop = bytes.indexOf(NEWLINE, start)) {
        line += 1;
        take(payloadOf(bytes.toString('utf8', start, stop), line, isChecked));
        start = stop + 1;
      }
      // A line that is being written has no end yet, and is left out.
      rest = bytes.subarray(start);
      onProgress?.(position, end);
    }
  } finally {
    await handle.close();
  }
}

function payloadOf(text: string, line: number, isChecked: boolean): Payload {
  let value: { payload?: unknown } | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    throw new BadLine(line, 'the line is not JSON');
  }
  if (isChecked) return (value as { payload: Payload }).payload;
  const checked = checkPayload(value?.payload);
  if ('problem' in checked) throw new BadLine(line, checked.problem);
  return checked.payload;
}

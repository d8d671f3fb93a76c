/** The Merkle tree over a log's lines, grown from the file itself and held against the chain. */
import { open } from 'node:fs/promises';
import { AgentGuardError } from '../../errors.ts';
import { sha256Text } from '../../receipts/keys.ts';
import { leafHash, TreeFrontier } from '../../receipts/merkle.ts';
import type { Head } from '../../receipts/seal.ts';

/** A place in a log up to which the disk has everything. */
export interface DurablePlace {
  head: Head;
  /** Where the next line begins. */
  offset: number;
}

const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;
const LINK = '"previousReceiptHash":"';

/** The tree up to a line, and the place behind that line. */
export class LogTree {
  readonly tree: TreeFrontier;
  offset: number;
  /** Hash of the last line. */
  head: string;

  constructor(tree: TreeFrontier = new TreeFrontier(), offset = 0, head = '') {
    this.tree = tree;
    this.offset = offset;
    this.head = head;
  }

  /**
   * Takes in the lines up to `to`. Each must point to the one before and the last be the head, so that no root is
   * signed over anything but the chain. Throws `AgentGuardError` (`log_damaged`) otherwise.
   */
  async growTo(path: string, to: DurablePlace, onProgress?: (done: number) => void): Promise<void> {
    const file = await open(path, 'r');
    try {
      let rest: Buffer = Buffer.alloc(0);
      for (let position = this.offset; position < to.offset;) {
        const wanted = Math.min(CHUNK_BYTES, to.offset - position);
        const { bytesRead, buffer } = await file.read(Buffer.alloc(wanted), 0, wanted, position);
        if (bytesRead === 0) break;
        position += bytesRead;
        rest = this.#takeLines(path, Buffer.concat([rest, buffer.subarray(0, bytesRead)]));
        onProgress?.(position);
      }
    } finally {
      await file.close();
    }
    if (this.offset !== to.offset || this.tree.size !== to.head.seq + 1 || this.head !== to.head.hash) {
      throw damaged(path, this.tree.size, 'it is not where the chain ends');
    }
  }

  /** Takes in the whole lines of `bytes` and returns the rest. */
  #takeLines(path: string, bytes: Buffer): Buffer {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      const line = bytes.subarray(start, end);
      if (this.tree.size > 0 && !line.includes(`${LINK}${this.head}"`)) {
        throw damaged(path, this.tree.size + 1, 'it does not point to the line before');
      }
      this.tree.add(leafHash(line));
      this.head = sha256Text(line);
      this.offset += line.length + 1;
      start = end + 1;
    }
    return bytes.subarray(start);
  }
}

function damaged(path: string, line: number, cause: string): AgentGuardError {
  return new AgentGuardError(
    'log_damaged',
    `no checkpoint can be made: line ${line} of ${path} was changed: ${cause}. Run "agentguard verify ${path}".`,
  );
}

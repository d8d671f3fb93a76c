/** Logs as a crash or a stranger's hand leaves them, and what opening them comes to. */
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AgentGuardError } from '../../../src/errors.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import { LOG_FILE } from '../../../src/node/home.ts';
import { signerFromSeed, type SigningKeys } from '../../../src/receipts/keys.ts';
import type { Receipt } from '../../../src/receipts/payloads.ts';
import {
  callOf,
  guardOn,
  policyOf,
  range,
  settleAt,
  totalCap,
} from '../../../src/testing/conformance-kit.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { checkLog } from './check-log.ts';
import { plainWrite } from './faulty-io.ts';

/** A log on disk, taken while its process was still running: no `close`, no late snapshot. */
export interface Image {
  dir: string;
  bytes: Buffer;
  /** Where each line begins, and where the file ends. */
  starts: number[];
  /** How many receipts the disk has for certain: all up to the last that was acknowledged before the last batch. */
  durable: number;
}

export const POLICY = policyOf([totalCap(1_000_000), totalCap(1_000_000, { per: ['userId'] })]);

/**
 * Makes a log of `calls` settled calls one after another, and then one batch of `last` decisions. With `closeAfter`
 * the log was closed once after so many calls, so that it is opened from a snapshot.
 */
export async function makeImage(
  calls: number,
  last: number,
  closeAfter?: number,
  signingKeys?: SigningKeys,
): Promise<Image> {
  const dir = temporaryFolder();
  const more = signingKeys === undefined ? {} : { signingKeys };
  let ledger = fileLedger({ dir });
  let durable = 0;
  for (const number of range(calls)) {
    if (number === closeAfter) {
      await ledger.close();
      ledger = fileLedger({ dir });
    }
    const guard = guardOn(ledger, POLICY, more);
    const call = await guard.begin(callOf(100 + number, { userId: `u${number % 3}` }));
    const { receipt } = await settleAt(call, 10 + number);
    durable = (receipt?.payload.seq ?? -1) + 1;
  }
  const guard = guardOn(ledger, POLICY, more);
  await ledger.flush();
  await Promise.all(range(last).map((number) => guard.begin(callOf(50 + number, { userId: 'last' }))));
  const image = temporaryFolder();
  cpSync(dir, image, { recursive: true, filter: (path) => !path.endsWith('.lock') });
  await ledger.close();
  const bytes = readFileSync(join(image, LOG_FILE));
  return { dir: image, bytes, starts: startsOf(bytes), durable };
}

/** Signing keys of a guard, as an application makes them. */
export function generateKeys(): SigningKeys {
  const privateKey = new Uint8Array(randomBytes(32));
  return { privateKey, publicKey: signerFromSeed(privateKey).publicKey };
}

export function startsOf(bytes: Uint8Array): number[] {
  const starts = [0];
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, end + 1)) starts.push(end + 1);
  return starts;
}

export function lineOf({ bytes, starts }: Image, index: number): Buffer {
  return bytes.subarray(starts[index], starts[index + 1]);
}

const scratch = temporaryFolder();

export interface Opening {
  error?: unknown;
  /** The log afterwards, under the verifier. */
  integrity: string;
  receipts: Receipt[];
  bytes: Buffer;
  /** What was put into quarantine, by name. */
  quarantine: Map<string, Buffer>;
}

/** Puts `bytes` in place of the image's log, opens it, makes one guarded call and looks at what is there then. */
export async function openWith(image: Image, bytes: Uint8Array): Promise<Opening> {
  rmSync(scratch, { recursive: true, force: true });
  cpSync(image.dir, scratch, { recursive: true });
  writeFileSync(join(scratch, LOG_FILE), bytes);
  const noSync = (_: number, done: (error: Error | null) => void): void => {
    setImmediate(done, null);
  };
  const io = { write: plainWrite, sync: noSync };
  const ledger = fileLedger({ dir: scratch, durability: 'os', io });
  let error: unknown;
  try {
    await guardOn(ledger, POLICY).begin(callOf(1, { userId: 'next' }));
  } catch (failure) {
    error = (failure as Error).cause instanceof AgentGuardError ? (failure as Error).cause : failure;
  }
  const opening = await look();
  await ledger.close();
  return { ...opening, ...(error !== undefined && { error }) };
}

async function look(): Promise<Opening> {
  const { verdict, receipts } = await checkLog(scratch);
  const folder = join(scratch, 'quarantine');
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return {
    integrity: verdict.integrity,
    receipts,
    bytes: readFileSync(join(scratch, LOG_FILE)),
    quarantine: new Map(names.map((name) => [name, readFileSync(join(folder, name))])),
  };
}

export function sha256Of(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Writing the synced price list: whole or not at all, whoever else writes at the same time. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parsePriceList, priceListText, type PriceList } from '../pricing/price-list.ts';
import { priceFilePath } from './home.ts';
import { syncDirectory } from './installation-key.ts';
import { makeFolder } from './make-folder.ts';

/** The list that is there, or why there is none that can be used. */
export type StoredPrices = { list: PriceList } | { none: true } | { damaged: string };

export function readPriceFile(path: string = priceFilePath()): StoredPrices {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? { none: true } : { damaged: message };
  }
  try {
    return { list: parsePriceList(text) };
  } catch (error) {
    return { damaged: (error as Error).message };
  }
}

/**
 * Puts `list` in the place of what is there, unless that was fetched later: then another process was faster, and
 * `false` is returned. Readers see the old list or the new one, never a part. Throws the file system's error.
 */
export function writePriceFile(list: PriceList, path: string = priceFilePath()): boolean {
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}`;
  makeFolder(dirname(path));
  try {
    writeFileSync(temporary, priceListText(list), { mode: 0o600, flag: 'wx', flush: true });
    const stored = readPriceFile(path);
    if ('list' in stored && stored.list.fetchedAt > list.fetchedAt) return false;
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  syncDirectory(dirname(path));
  return true;
}

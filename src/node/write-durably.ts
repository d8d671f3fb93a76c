/** Writes a whole file so that a reader, and a power loss, find it as it was or as it shall be. */
import { open, rename } from 'node:fs/promises';

/** The text is on disk under a name of this process before it takes the place of `path`. Readable by its owner only. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

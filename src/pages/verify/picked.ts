/** What a file is that was picked or dropped. Anything that isn't known as something else is taken for a log. */

const LONGEST = 64 * 1024;

export type FileKind = { kind: 'log' } | { kind: 'checkpoint' | 'certificate' | 'key'; text: string };

export async function kindOf(file: Blob): Promise<FileKind> {
  if (file.size > LONGEST) return { kind: 'log' };
  const text = await file.text();
  if (text.startsWith('agentguard.run/log/')) return { kind: 'checkpoint', text };
  const members = membersOf(text);
  if (members.has('root') && members.has('sig')) return { kind: 'certificate', text };
  if (members.has('crv') || members.has('keys')) return { kind: 'key', text };
  return { kind: 'log' };
}

function membersOf(text: string): ReadonlySet<string> {
  try {
    const value: unknown = JSON.parse(text);
    return new Set(typeof value === 'object' && value !== null ? Object.keys(value) : []);
  } catch {
    return new Set();
  }
}

/** "Did you mean": model ids that look like an unknown one. For people to read, never to price a call. */
import { catalogueIds } from './catalogue.ts';
import { MAX_MODEL_ID_LENGTH } from './resolve.ts';
import { syncedIds } from './synced.ts';

/** More edits than this and the ids have little to do with each other. */
const MAX_EDITS = 4;
const MAX_SUGGESTIONS = 3;

/**
 * Number of single-character edits between two short strings, or `limit + 1` when there are more than
 * `limit`.
 */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const edits = Math.min(replaced, (previous[j] as number) + 1, (current[j - 1] as number) + 1);
      current.push(edits);
      least = Math.min(least, edits);
    }
    if (least > limit) return limit + 1;
    previous = current;
  }
  return previous[b.length] as number;
}

/** What an id is compared by: small letters, no vendor, no suffix, one kind of separator. */
function simplified(id: string): string {
  const name = id.slice(id.lastIndexOf('/') + 1).toLowerCase();
  return name.replace(/:[a-z]+$/, '').replace(/[\s._-]+/g, '-');
}

/**
 * Edits between two simplified ids; one that only lacks an ending (`-preview`) is as good as one edit away.
 */
function distance(wanted: string, candidate: string, limit: number): number {
  return candidate.startsWith(`${wanted}-`) ? 1 : editDistance(wanted, candidate, limit);
}

/**
 * Up to three ids of the price lists that look most like this one, the likest first. Ids of `provider` only,
 * where the catalogue has that provider; ids written `vendor/model` are answered in that form.
 */
export function suggestModels(id: string, provider?: string): string[] {
  if (id === '' || id.length > MAX_MODEL_ID_LENGTH) return [];
  const wanted = simplified(id);
  const limit = Math.min(MAX_EDITS, Math.floor(wanted.length / 3));
  const all = catalogueIds();
  const vendor = id.includes('/') ? id.slice(0, id.indexOf('/')) : '';
  const chosen =
    provider !== undefined && provider !== 'openrouter' && all.has(provider) ? [provider] : all.keys();
  const found = new Map<string, number>();
  for (const name of chosen) {
    const synced = name === 'openrouter' ? syncedIds() : [];
    for (const listed of [...(all.get(name) ?? []), ...synced]) {
      const candidate = vendor !== '' && name === vendor ? `${vendor}/${listed}` : listed;
      if (candidate === id || (provider === undefined && id.includes('/') !== candidate.includes('/')))
        continue;
      const edits = distance(wanted, simplified(candidate), limit);
      if (edits <= limit) found.set(candidate, Math.min(edits, found.get(candidate) ?? edits));
    }
  }
  const likest = [...found].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
  return likest.slice(0, MAX_SUGGESTIONS).map(([candidate]) => candidate);
}

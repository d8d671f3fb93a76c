/** The calls that handlers have been told of, until they end: whichever handler is told, a call has one decision. */
import type { GuardedCall } from '../src/guarded-call.ts';
import type { SpendGuard } from '../src/guard.ts';
import type { AnsweredBy } from './langchain-usage.ts';

/** A call that LangChain has announced, and what is needed to settle it. */
export interface Run {
  call: Promise<GuardedCall>;
  from: AnsweredBy;
  signal: AbortSignal | undefined;
  onAbort: () => void;
  at: number;
  together: Together;
}

const RUNS = new WeakMap<SpendGuard, Map<string, Run>>();

/** The runs of a guard, by LangChain's ids: several handlers of one guard may be told of the same call. */
export function runsOf(guard: SpendGuard): Map<string, Run> {
  let runs = RUNS.get(guard);
  if (runs === undefined) RUNS.set(guard, (runs = new Map()));
  return runs;
}

/** Calls that are sent only if all of them may be: several prompts of one `generate`, handlers of several guards. */
export interface Together {
  /** One of them was refused: LangChain sends none, and tells nobody. */
  refuse(): void;
}

interface Group extends Together {
  unsent: Set<() => void>;
  isRefused: boolean;
}

const GROUPS = new WeakMap<object, Group>();

function newGroup(): Group {
  const group: Group = {
    unsent: new Set(),
    isRefused: false,
    refuse() {
      group.isRefused = true;
      for (const end of group.unsent) end();
      group.unsent.clear();
    },
  };
  return group;
}

/** Joins the calls that LangChain announces with the same `extra`, an object of each `generate`'s own. */
export function togetherWith(extra: object, onUnsent: () => void): Together {
  let group = GROUPS.get(extra);
  if (group === undefined) GROUPS.set(extra, (group = newGroup()));
  // after a refusal: once the run is in its place
  if (group.isRefused) queueMicrotask(onUnsent);
  else group.unsent.add(onUnsent);
  return group;
}

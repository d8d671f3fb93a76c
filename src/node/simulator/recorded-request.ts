/** What was asked, in a file of its own: it is part of the package's types, which name nothing of Node. */
/** A request as it came over the wire, and what became of it. */
export interface RecordedRequest {
  /** From 1, in the order in which the requests were read. */
  id: number;
  /** Milliseconds since 1970. */
  at: number;
  method: string;
  /** With the query: `/api/v1/chat/completions`. */
  path: string;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  /** The parsed JSON, `undefined` where there is none. */
  body: unknown;
  bodyText: string;
  /** Nano-USD, once the request is on the bill; stays `undefined` where nothing is charged. */
  charge?: bigint;
  generationId?: string;
  /** `refused` by an HTTP error, `error` when it failed after the model had started. */
  outcome: 'pending' | 'completed' | 'aborted' | 'error' | 'refused';
}

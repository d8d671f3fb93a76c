/** One framework at one version, as the matrix drives it: the same calls for all, each in the framework's own way. */
import type { SpendGuard } from '../../src/index.ts';

/** What one cell asks a driver for. */
export interface Drive {
  guard: SpendGuard;
  /** The simulator's base URL, `…/api/v1`. */
  baseUrl: string;
  model: string;
  /** Other models that may serve (OpenRouter's `models`). */
  fallbacks?: readonly string[];
  /** The models that a downgrade may come to, for frameworks that need them beforehand. */
  ladder: readonly string[];
  maxOutputTokens: number;
  prompt: string;
}

export interface Driver {
  /** `ai 7.0.173`, with the exact version that is installed. */
  name: string;
  /** One call; resolves with the answer's text. Never retries. */
  generate(drive: Drive): Promise<string>;
  /** One streamed call, read to its end. Rejects where the stream fails. */
  stream(drive: Drive): Promise<string>;
  /** Aborts a streamed call by its signal once the first text has come, in whatever way its reader then ends. */
  abortStream(drive: Drive): Promise<void>;
  /** An agent with a tool `look` of one text parameter `key`: runs until the model answers without a tool call. */
  agent(drive: Drive): Promise<string>;
  /** What this framework can't do, and what happens instead. */
  differs?: {
    /** A downgrade can't be carried out here: the call is blocked (`no_route`). */
    downgrade?: 'block';
    /** Who served is not reported in these calls. */
    servedModel?: readonly ('generate' | 'stream')[];
    /** The provider's own cost is not reported in these calls: they settle at tokens × price. */
    cost?: readonly ('generate' | 'stream')[];
  };
}

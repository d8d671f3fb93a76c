/** Name and version of this package, as genesis receipts carry them. A test holds it against package.json. */
export const SDK = '@agentguard-run/spend/0.3.0';

/**
 * The rules that `decide` follows. Receipts name them; a verifier that doesn't know them can't replay.
 *
 * - 1: caps with `block` and `downgrade`, unknown prices, clamping
 * - 2: as 1, and model rules, capabilities, freezes, grants, approvals, caps on some models, sticky rungs. What has
 *   none of these is decided as by 1
 */
export const RULES_VERSION = 2;

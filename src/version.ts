/** Name and version of this package, as genesis receipts carry them. A test holds it against package.json. */
export const SDK = '@agentguard-run/spend/0.3.0';

/** The rules that `decide` follows. Receipts name them; a verifier that doesn't know them can't replay. */
export const RULES_VERSION = 1;

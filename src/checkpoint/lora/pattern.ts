/** The parts of a pattern: names, dots, digits, any run of characters, lists of names. */
const TOKEN = /\\d\+|\[0-9\]\+|\.[*+]|\\?\.|[\w-]+|\((?:\?:)?[\w-]+(?:\|[\w-]+)*\)/y;
const LONGEST = 300;
const MAX_RUNS = 3;

/**
 * A key of peft's `rank_pattern` or `alpha_pattern` as a pattern for the full name of a layer. Only
 * names, `\.`, `.`, `\d+`, `.*` and `(q_proj|v_proj)` are supported, because an arbitrary regular
 * expression could run for ever.
 * @returns undefined  the pattern has other parts
 * @source peft `get_pattern_key`
 */
export function layerPattern(key: string): RegExp | undefined {
  const anchored = key.startsWith("^");
  const text = key.slice(anchored ? 1 : 0).replace(/\$$/, "");
  if (text.length === 0 || text.length > LONGEST) return undefined;
  let runs = 0;
  for (let at = 0; at < text.length;) {
    TOKEN.lastIndex = at;
    const [token] = TOKEN.exec(text) ?? [];
    if (token === undefined) return undefined;
    if (/^\.[*+]$/.test(token) && ++runs > MAX_RUNS) return undefined;
    at += token.length;
  }
  return new RegExp(anchored ? `^(?:${text})$` : `^(?:.*\\.)?(?:${text})$`);
}

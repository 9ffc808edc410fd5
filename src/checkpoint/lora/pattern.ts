/** The characters of a pattern that are matched: names, dots, digits, any run of characters (three at most), lists of names. */
const TOKEN = /\\d\+|\[0-9\]\+|\.[*+]|\\?\.|[\w-]+|\((?:\?:)?[\w-]+(?:\|[\w-]+)*\)/y;
const LONGEST = 300;
const RUNS = 3;

/**
 * A key of peft's `rank_pattern` or `alpha_pattern` as a pattern for the whole name of a layer. The file's words are no regular expression
 * of any kind, as one from a stranger could run for ever: names, `\.`, `.`, `\d+`, `.*` and `(q_proj|v_proj)` are known.
 * @returns undefined  for a pattern with anything else in it
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
    if (/^\.[*+]$/.test(token) && ++runs > RUNS) return undefined;
    at += token.length;
  }
  return new RegExp(anchored ? `^(?:${text})$` : `^(?:.*\\.)?(?:${text})$`);
}

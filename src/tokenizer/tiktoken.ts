import { show } from "../json.js";
import { TokenizerError } from "./errors.js";

/** A token of a text, and how many UTF-8 bytes of it it spells. */
export interface SpelledToken {
  readonly id: number;
  readonly bytes: number;
}

/** A byte-pair vocabulary of a tiktoken file. Its ids are the ranks of its merges. */
export interface Tiktoken {
  /** One above the largest id. */
  readonly size: number;
  /** Tokens of the file. */
  readonly count: number;
  /** The tokens of a text; their bytes are the text's, in order. */
  encode(text: string): SpelledToken[];
  /** Text of ids; ids outside the vocabulary decode to nothing, bytes that are not UTF-8 to U+FFFD. */
  decode(ids: readonly number[]): string;
}

/** @source GPT-2's pattern, as in whisper's and SenseVoice's tokenizers; \s is Unicode's white space */
const pattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const mostTokens = 400_000;

/**
 * Reads a tiktoken file: a line for each token, its bytes in base64 and its rank.
 * @throws TokenizerError  another line, a rank twice, or a byte without a token
 * @source tiktoken `load_tiktoken_bpe`
 */
export function loadTiktoken(text: string, file: string): Tiktoken {
  const ranks = new Map<string, number>(); // by bytes, each as a character
  const spelling = new Map<number, string>();
  const lines = text.split("\n");
  if (lines.length > mostTokens)
    throw new TokenizerError(file, "lines", `at most ${mostTokens}`, lines.length);
  lines.forEach((line, i) => {
    if (line.trim() === "") return;
    const [, base64, rank] = /^([A-Za-z0-9+/]+={0,2}) (\d{1,7})\s*$/.exec(line) ?? [];
    const bytes = rank === undefined ? undefined : decoded(base64);
    const id = Number(rank);
    if (bytes === undefined || spelling.has(id) || ranks.has(bytes))
      throw new TokenizerError(
        file,
        `line ${i + 1}`,
        "the base64 of a new token and a new rank",
        show(line.slice(0, 60)),
      );
    ranks.set(bytes, id);
    spelling.set(id, bytes);
  });
  for (let byte = 0; byte < 256; byte++)
    if (!ranks.has(String.fromCharCode(byte)))
      throw new TokenizerError(file, "tokens", "a token for each of the 256 bytes", `none for byte ${byte}`);
  return {
    size: 1 + [...spelling.keys()].reduce((most, id) => Math.max(most, id), 0),
    count: ranks.size,
    encode: (one) => encode(one, ranks),
    decode(ids) {
      const all = ids.map((id) => spelling.get(id) ?? "").join("");
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
        Uint8Array.from(all, (c) => c.charCodeAt(0)),
      );
    },
  };
}

function decoded(base64: string): string | undefined {
  try {
    return atob(base64);
  } catch {
    return undefined;
  }
}

function encode(text: string, ranks: ReadonlyMap<string, number>): SpelledToken[] {
  const encoder = new TextEncoder();
  const tokens: SpelledToken[] = [];
  for (const [part] of text.matchAll(pattern)) {
    const bytes = Array.from(encoder.encode(part), (byte) => String.fromCharCode(byte));
    for (const piece of merge(bytes, ranks)) tokens.push({ id: ranks.get(piece)!, bytes: piece.length });
  }
  return tokens;
}

/** Merges neighbours, the pair of the lowest rank first, the first of equal ones. */
function merge(pieces: string[], ranks: ReadonlyMap<string, number>): string[] {
  const whole = pieces.join("");
  if (ranks.has(whole)) return [whole];
  const rankAt = (i: number): number => ranks.get(pieces[i] + pieces[i + 1]) ?? Infinity;
  const pairs = pieces.slice(1).map((_, i) => rankAt(i)); // of each piece and the next
  for (;;) {
    let best = -1;
    let lowest = Infinity;
    for (let i = 0; i < pairs.length; i++) if (pairs[i] < lowest) [best, lowest] = [i, pairs[i]];
    if (best < 0) return pieces;
    pieces.splice(best, 2, pieces[best] + pieces[best + 1]);
    pairs.splice(best, 1);
    if (best < pairs.length) pairs[best] = rankAt(best);
    if (best > 0) pairs[best - 1] = rankAt(best - 1);
  }
}

import { withoutSilenceMarks } from "../segments/silence-marks.js";

/** A text as it is known while its audio comes. */
export interface Hypothesis {
  /** Never changes: all later stable texts and the final one begin with it. */
  readonly stable: string;
  /** What follows it, as of the newest decoding. */
  readonly tentative: string;
}

/** A letter or digit of a script that puts spaces between words. */
const inWord = /[\p{L}\p{M}\p{N}'’]/u;
const unspaced =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const atEnd = /[\p{P}\p{S}\s]$/u;

function joinsWord(before: string, after: string): boolean {
  const [a, b] = [Array.from(before).at(-1) ?? "", Array.from(after)[0] ?? ""];
  return inWord.test(a) && inWord.test(b) && !unspaced.test(a) && !unspaced.test(b);
}

/** Decodings in a row that agree before words are stable. */
const LATER = 2;

/**
 * What two decodings in a row agree on, in whole words and characters (LocalAgreement-2); for the
 * first words of a segment, more. What is stable is the prefix that later decodings are forced to, so
 * that it never changes.
 * @source Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System", 2023
 */
export class Agreement {
  #stable: readonly number[] = [];
  /** Newest decodings, the last one last. */
  #newest: readonly (readonly number[])[] = [];

  /**
   * @param decode  token ids to text
   * @param first   decodings that agree on the first words, from 2
   */
  constructor(
    private readonly decode: (ids: readonly number[]) => string,
    private readonly first: number,
  ) {}

  /** Tokens that later decodings begin with. */
  get prefix(): readonly number[] {
    return this.#stable;
  }

  get text(): Hypothesis {
    const stable = withoutSilenceMarks(this.decode(this.#stable)).trim();
    const newest = withoutSilenceMarks(this.decode(this.#newest.at(-1) ?? [])).trim();
    return { stable, tentative: newest.startsWith(stable) ? newest.slice(stable.length) : "" };
  }

  /** Takes the tokens of one more decoding. Those that do not begin with `prefix` are left out. */
  take(tokens: readonly number[]): void {
    if (!this.#stable.every((id, i) => tokens[i] === id)) return;
    const needed = this.#stable.length === 0 ? this.first : LATER;
    this.#newest = [...this.#newest, tokens].slice(-needed);
    const agreeing = this.#newest;
    if (agreeing.length < needed) return;
    let count = 0;
    while (agreeing.every((ids) => count < ids.length && ids[count] === tokens[count])) count++;
    while (count > this.#stable.length && !this.#whole(count, agreeing)) count--;
    if (count > this.#stable.length) this.#stable = tokens.slice(0, count);
  }

  /**
   * The final text of tokens that were decoded behind `prefix`. Where they do not begin with it,
   * because a loop in it was cut, the stable text is the final one.
   */
  final(text: string): string {
    const { stable } = this.text;
    return text.startsWith(stable) ? text : stable;
  }

  /** Whether so many tokens end with a word, character or mark in all of these decodings. */
  #whole(count: number, decodings: readonly (readonly number[])[]): boolean {
    return decodings.every((tokens) => {
      const text = this.decode(tokens);
      const part = this.decode(tokens.slice(0, count));
      if (!text.startsWith(part) || !withoutSilenceMarks(text).trim().startsWith(part.trim())) return false;
      const rest = text.slice(part.length);
      return rest === "" ? !atEnd.test(part) : !joinsWord(part, rest);
    });
  }
}

/** Names of marks that stand in brackets. */
const NAMES = ["sil", "silence", "noise"];
/** What models write where nobody speaks, in place of words. */
const SLASHED = ["/sil", "/spk", "/noise"];
const BRACKETED = [
  ...[...NAMES, "nospeech"].flatMap((name) => [`<${name}>`, `<|${name}|>`]),
  ...[...NAMES, "blank_audio"].map((name) => `[${name}]`),
];
const marks = [...SLASHED, ...BRACKETED];

const MARK =
  String.raw`\/sil(?![\p{Script=Latin}\p{N}])|(?<![\p{Script=Latin}\p{N}])\/(?:spk|noise)(?![\p{Script=Latin}\p{N}])` +
  `|${BRACKETED.map((mark) => mark.replace(/[|[\]]/g, String.raw`\$&`)).join("|")}`;
const CUT = new RegExp(`(?:(?<! ) +)?(?:${MARK})(?: |${MARK})*`, "giu");
const BEFORE = new RegExp(`(?<! )(?: |${MARK})+$`, "iu");

/** A text without the marks of silence that are no words, such as `/sil`. */
export function withoutSilenceMarks(text: string): string {
  const kept = text.replace(CUT, joint);
  return kept === text ? text : kept.trim();
}

/** What stays of marks with the spaces around them. */
function joint(cut: string): "" | " " {
  return cut.includes(" ") ? " " : "";
}

/** What a stream of tokens gives. */
interface TextStream {
  push(id: number): string;
  flush(): string;
}

/**
 * The text of tokens as they come, without marks of silence: what may be the begin of a mark waits.
 * All pieces joined and trimmed are `withoutSilenceMarks` of the text.
 */
export class SpokenStream {
  #held = "";
  /** The last character that was given out. */
  #last = "";

  constructor(private readonly stream: TextStream) {}

  push(id: number): string {
    this.#held += this.stream.push(id);
    const text = this.#held;
    let from = text.length;
    const tail = /[/<[][^/<[]*$/.exec(text);
    if (tail && marks.some((mark) => mark.startsWith(tail[0].toLowerCase()))) from = tail.index;
    from -= BEFORE.exec(text.slice(0, from))?.[0].length ?? 0;
    return this.#give(from);
  }

  /** The rest of the text. */
  flush(): string {
    this.#held += this.stream.flush();
    return this.#give(this.#held.length);
  }

  #give(end: number): string {
    const text = (this.#last + this.#held.slice(0, end)).replace(CUT, joint).slice(this.#last.length);
    if (end > 0) this.#last = Array.from(this.#held.slice(0, end)).at(-1)!;
    this.#held = this.#held.slice(end);
    return text;
  }
}

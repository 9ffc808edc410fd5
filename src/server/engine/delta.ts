import { withoutSilenceMarks } from "../../decode/segments/silence-marks.js";

/** The most characters that a mark of silence has. */
const longestMark = 16;

/**
 * Text that comes in pieces, without marks of silence and white space around it. The end of what
 * came is held back while it may be the begin of a mark.
 */
export class DeltaText {
  #raw = "";
  #sent = "";

  /** @returns what is new */
  push(piece: string): string {
    this.#raw += piece;
    const tail = this.#raw.slice(-longestMark);
    const open = tail.search(/[/<[][^\s/<[]*$|\s+$/);
    const settled = open < 0 ? this.#raw : this.#raw.slice(0, this.#raw.length - tail.length + open);
    return this.#rest(withoutSilenceMarks(settled).trim());
  }

  /** @param text  the whole text. @returns what is left of it */
  end(text: string): string {
    return this.#rest(text);
  }

  /** Nothing where the text has taken back what was sent. */
  #rest(text: string): string {
    if (!text.startsWith(this.#sent)) return "";
    const rest = text.slice(this.#sent.length);
    this.#sent = text;
    return rest;
  }
}

/** Text that comes in pieces, without white space around it. */
export class DeltaText {
  #raw = "";
  #sent = "";

  /** @returns what is new */
  push(piece: string): string {
    this.#raw += piece;
    return this.end(this.#raw.trim());
  }

  /**
   * @param text  the whole text
   * @returns     what is left of it; nothing where it does not begin with what was sent
   */
  end(text: string): string {
    if (!text.startsWith(this.#sent)) return "";
    const rest = text.slice(this.#sent.length);
    this.#sent = text;
    return rest;
  }
}

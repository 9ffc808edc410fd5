import type { LiveEvent } from "../../decode/live/options.js";
import { flatText } from "../../decode/subtitles/formats.js";
import { tenths } from "../../decode/subtitles/width.js";
import { openLine, print, printJson, showsOpenLine } from "../output.js";

/** How live text is printed. */
export interface LivePrinterOptions {
  readonly json?: boolean;
  /** The recording, where results name it. */
  readonly file?: string;
  /** What lines of text begin with. */
  readonly label?: string;
}

/**
 * Prints the events of a live session: a line for each segment with text, and on a terminal the open
 * one, its stable words plain and the others dim.
 */
export class LivePrinter {
  /** Segments that had text. */
  count = 0;
  readonly #named: { readonly file?: string };

  constructor(private readonly options: LivePrinterOptions) {
    this.#named = options.file === undefined ? {} : { file: options.file };
  }

  hear(event: LiveEvent): void {
    if (event.type === "partial") this.#partial(event.start, event.stable, event.tentative);
    else if (event.type === "final") {
      const { start, end, text } = event.segment;
      if (text !== "") this.count++;
      if (this.options.json) printJson({ ...this.#named, type: "final", start, end, text });
      else if (text === "") openLine("", "");
      else print(`${this.#prefix}${start.toFixed(3)}\t${end.toFixed(3)}\t${flatText(text)}`);
    }
  }

  get #prefix(): string {
    const { label } = this.options;
    return label === undefined ? "" : `${label}: `;
  }

  #partial(start: number, stable: string, tentative: string): void {
    if (this.options.json) printJson({ ...this.#named, type: "partial", start, stable, tentative });
    else if (showsOpenLine()) {
      const certain = flatText(stable);
      const rest = flatText(stable + tentative).slice(certain.length);
      openLine(...fitted(certain, rest, process.stdout.columns));
    }
  }
}

const characters = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The end of a text that fits a line of a terminal, whose last column stays free. */
export function fitted(stable: string, tentative: string, columns = 80): [stable: string, tentative: string] {
  let room = 10 * ((columns || 80) - 1); // a terminal without a size has 0
  if (tenths(stable + tentative) <= room) return [stable, tentative];
  room -= 10; // of the mark
  const all = Array.from(characters.segment(stable + tentative), ({ segment, index }) => ({
    segment,
    index,
  }));
  let at = stable.length + tentative.length;
  for (const { segment, index } of all.reverse()) {
    room -= tenths(segment);
    if (room < 0) break;
    at = index;
  }
  return at < stable.length
    ? [`…${stable.slice(at)}`, tentative]
    : ["", `…${tentative.slice(at - stable.length)}`];
}

import { createReadStream } from "node:fs";
import { type DataError, dataError } from "./errors.js";
import { checkReadable, refuseOther } from "./lines.js";

const MAX_ITEM_CHARS = 64 << 20;

/**
 * The items of the array `key` in a JSON file's top object, parsed one by one. WenetSpeech.json has
 * gigabytes; only one piece and one item are in memory.
 * @throws DataError  the file is cut short or has no such array, or an item is damaged or too long
 */
export async function* readItems(file: string, key: string): AsyncGenerator<unknown, void, undefined> {
  await checkReadable(file);
  const scanner = new Scanner(file, key);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (piece: Uint8Array): string => {
    try {
      return decoder.decode(piece, { stream: true });
    } catch {
      throw refusal(file, "UTF-8", "other bytes");
    }
  };
  let isFirst = true;
  for await (const piece of createReadStream(file) as AsyncIterable<Uint8Array>) {
    if (isFirst) refuseOther(file, piece);
    isFirst = false;
    yield* scanner.push(decode(piece));
    if (scanner.done) return;
  }
  throw refusal(file, `an array "${key}" to its end`, scanner.started ? "a file that ends in it" : "none");
}

/** Depth counts open brackets outside strings: 1 in the top object, 2 in the array. */
class Scanner {
  started = false;
  done = false;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #string = ""; // the last string at depth 1, which may be the key
  #item = "";

  constructor(
    private readonly file: string,
    private readonly key: string,
  ) {}

  *push(text: string): Generator<unknown, void, undefined> {
    let from = this.#inItem() ? 0 : text.length;
    for (let i = 0; i < text.length && !this.done; i++) {
      const c = text[i];
      if (this.#inString) {
        this.#stringCharacter(c);
      } else if (c === '"') {
        this.#inString = true;
        if (this.#depth === 1) this.#string = "";
      } else if (c === "{" || c === "[") {
        if (this.#depth === 1 && c === "[" && this.#string === this.key) this.started = true;
        if (this.started && this.#depth === 2) from = i;
        this.#depth++;
      } else if (c === "}" || c === "]") {
        this.#depth--;
        if (this.started && this.#depth === 2) {
          yield this.#parse(this.#item + text.slice(from, i + 1));
          this.#item = "";
          from = text.length;
        } else if (this.started && this.#depth === 1) this.done = true;
      }
    }
    this.#item += text.slice(from);
    const expected = `items of at most ${MAX_ITEM_CHARS} characters in "${this.key}"`;
    if (this.#item.length > MAX_ITEM_CHARS) throw refusal(this.file, expected, "a longer one");
  }

  #inItem(): boolean {
    return this.started && this.#depth > 2;
  }

  #stringCharacter(c: string): void {
    if (this.#escaped) this.#escaped = false;
    else if (c === "\\") this.#escaped = true;
    else if (c === '"') this.#inString = false;
    if (this.#inString && this.#depth === 1 && this.#string.length <= this.key.length) this.#string += c;
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw refusal(this.file, `JSON in "${this.key}"`, "something else");
    }
  }
}

function refusal(file: string, expected: string, got: string): DataError {
  return dataError(file, "content", expected, got, "is the file damaged?");
}

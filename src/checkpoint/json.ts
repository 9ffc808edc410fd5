import { type JsonObject, isObject, show } from "../json.js";
import { checkpointError } from "../formats/errors.js";

/**
 * Parses a JSON document whose top is an object, as JSON.parse, but refuses a name that occurs
 * twice.
 * @throws CheckpointError  not JSON, not an object, a name twice in one object, or more than
 *   MAX_DEPTH levels
 */
export function parseJsonObject(text: string, file: string, field: string): JsonObject {
  const cursor = new JsonCursor(text, file, field);
  const value = cursor.value();
  cursor.end();
  if (!isObject(value)) throw checkpointError(file, field, "a JSON object", show(value));
  return value;
}

/** Bounds the recursion, as serde_json does. */
const MAX_DEPTH = 128;
/** Most values of value(). Qwen3's tokenizer.json has up to 750,000. */
const MAX_VALUES = 2_000_000;
/** Most items of brief(): the most dimensions of a torch tensor. */
const MAX_ITEMS = 64;

/**
 * Reads strict JSON piece by piece, so that a header is checked before it becomes objects:
 * JSON.parse needs 30 s and 5 GB for 100 MB of "[". Every error is a CheckpointError with the
 * position.
 */
export class JsonCursor {
  readonly #text: string;
  readonly #file: string;
  readonly #field: string;
  #at = 0;
  #depth = 0;
  #values = 0;

  constructor(text: string, file: string, field: string) {
    this.#text = text;
    this.#file = file;
    this.#field = field;
  }

  /** First character of the next token; "" at the end. */
  peek(): string {
    for (;;) {
      const c = this.#text[this.#at];
      if (c !== " " && c !== "\n" && c !== "\r" && c !== "\t") return c ?? "";
      this.#at++;
    }
  }

  /** @throws CheckpointError  more than white space is left */
  end(): void {
    if (this.peek() !== "") this.#refuse("the end");
  }

  /** Reads an object. `member` is called with each name and must read the value. */
  object(member: (name: string) => void): void {
    this.#open("{");
    for (let first = true; this.#more("}", first); first = false) member(this.#name());
  }

  /** Reads an array. `item` is called for each item and must read it. */
  array(item: () => void): void {
    this.#open("[");
    for (let first = true; this.#more("]", first); first = false) item();
  }

  string(): string {
    if (this.peek() !== '"') this.#refuse("a string");
    const start = this.#at++;
    let plain = true;
    for (; ; this.#at++) {
      const c = this.#text.charCodeAt(this.#at);
      if (c === 0x22) break;
      if (!(c >= 0x20)) this.#refuse("the closing quote"); // a control character, or NaN at the end
      if (c === 0x5c) {
        plain = false;
        this.#at++;
      }
    }
    this.#at++;
    if (plain) return this.#text.slice(start + 1, this.#at - 1);
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch {
      this.#at = start;
      return this.#refuse("a string with valid escapes");
    }
  }

  /**
   * Any value.
   * @throws CheckpointError  also for a name twice in one object, or more than MAX_VALUES
   */
  value(): unknown {
    const c = this.peek();
    if (++this.#values > MAX_VALUES) this.#refuse(`at most ${MAX_VALUES} values`);
    if (c === "{") {
      const members = new Map<string, unknown>();
      this.object((name) => {
        this.unseen(members, name);
        members.set(name, this.value());
      });
      return Object.fromEntries(members); // "__proto__" is a name like any other
    }
    if (c !== "[") return this.#scalar();
    const items: unknown[] = [];
    this.array(() => items.push(this.value()));
    return items;
  }

  /** A value of bounded size: a scalar, an array of scalars and {}, or {} for an object. */
  brief(): unknown {
    const c = this.peek();
    if (c === "{") return this.#skipped();
    if (c !== "[") return this.#scalar();
    const items: unknown[] = [];
    this.array(() => {
      if (items.length === MAX_ITEMS) this.#refuse(`at most ${MAX_ITEMS} items`);
      const inner = this.peek();
      items.push(inner === "{" || inner === "[" ? this.#skipped() : this.#scalar());
    });
    return items;
  }

  /** Skips any value. */
  skip(): void {
    const c = this.peek();
    if (c !== "{" && c !== "[") {
      this.#scalar();
      return;
    }
    this.#open(c);
    for (let first = true; this.#more(c === "{" ? "}" : "]", first); first = false) {
      if (c === "{") this.#name();
      this.skip();
    }
  }

  /** @throws CheckpointError  `names` has `name` */
  unseen(names: { has(name: string): boolean }, name: string): void {
    if (!names.has(name)) return;
    const got = `${show(name)} twice`;
    throw checkpointError(this.#file, this.#field, "every name once", got);
  }

  #skipped(): JsonObject {
    this.skip();
    return {};
  }

  #open(bracket: string): void {
    this.#take(bracket);
    if (++this.#depth > MAX_DEPTH) this.#refuse(`at most ${MAX_DEPTH} levels`);
  }

  /** True if an item follows; false at the closing bracket, which is taken. */
  #more(close: string, first: boolean): boolean {
    const c = this.peek();
    if (first && c !== close) return true;
    if (!first && c === ",") {
      this.#at++;
      return true;
    }
    this.#take(close);
    this.#depth--;
    return false;
  }

  #name(): string {
    if (this.peek() !== '"') this.#refuse("a name in quotes");
    const name = this.string();
    this.#take(":");
    return name;
  }

  #scalar(): string | number | boolean | null {
    const c = this.peek();
    if (c === '"') return this.string();
    if (c === "-" || isDigit(c)) return this.#number();
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return value;
    }
    return this.#refuse("a value");
  }

  #number(): number {
    const start = this.#at;
    if (this.#text[this.#at] === "-") this.#at++;
    if (this.#text[this.#at] === "0") this.#at++;
    else this.#digits();
    if (this.#text[this.#at] === ".") {
      this.#at++;
      this.#digits();
    }
    if (this.#text[this.#at] === "e" || this.#text[this.#at] === "E") {
      this.#at++;
      if (this.#text[this.#at] === "+" || this.#text[this.#at] === "-") this.#at++;
      this.#digits();
    }
    return Number(this.#text.slice(start, this.#at));
  }

  #digits(): void {
    if (!isDigit(this.#text[this.#at] ?? "")) this.#refuse("a digit");
    while (isDigit(this.#text[this.#at] ?? "")) this.#at++;
  }

  #take(char: string): void {
    if (this.peek() !== char) this.#refuse(`"${char}"`);
    this.#at++;
  }

  #refuse(expected: string): never {
    const got = this.#at < this.#text.length ? show(this.#text[this.#at]) : "the end of the text";
    const field = `${this.#field} at character ${this.#at}`;
    throw checkpointError(this.#file, field, expected, got, "this is not the JSON it should be");
  }
}

const WORDS = [
  ["true", true],
  ["false", false],
  ["null", null],
] as const;

function isDigit(c: string): boolean {
  return c >= "0" && c <= "9" && c.length === 1;
}

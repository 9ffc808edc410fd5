import { type JsonObject, isObject, show } from "../json.js";
import { ConfigError } from "../formats/errors.js";

/** Largest width, vocabulary or context: 100 times Qwen3's vocabulary. */
const LARGEST = 2 ** 24;

/** Typed reads of one object of a JSON config. Every error names the file and the field's path. */
export class ConfigReader {
  readonly file: string;
  readonly #path: string;
  readonly #object: JsonObject;

  private constructor(file: string, path: string, object: JsonObject) {
    this.file = file;
    this.#path = path;
    this.#object = object;
  }

  /** @throws ConfigError  not an object */
  static of(json: unknown, file: string): ConfigReader {
    if (isObject(json)) return new ConfigReader(file, "", json);
    throw new ConfigError({ file, field: "top", expected: "an object", got: show(json) });
  }

  /** The value, or undefined if the field is missing. */
  value(field: string): unknown {
    return Object.hasOwn(this.#object, field) ? this.#object[field] : undefined;
  }

  has(field: string): boolean {
    return this.value(field) !== undefined;
  }

  /** True for a field that is missing or null. */
  isNull(field: string): boolean {
    return (this.value(field) ?? null) === null;
  }

  section(field: string): ConfigReader {
    const value = this.value(field);
    if (isObject(value)) return new ConfigReader(this.file, `${this.#path}${field}.`, value);
    throw this.refusal(field, "an object", value);
  }

  /** As `section`, but a reader without fields if it is missing or null. */
  optional(field: string): ConfigReader {
    return this.isNull(field)
      ? new ConfigReader(this.file, `${this.#path}${field}.`, {})
      : this.section(field);
  }

  /** An integer from `least` to `most`. */
  integer(field: string, { least = 1, most = LARGEST }: { least?: 0 | 1; most?: number } = {}): number {
    const value = this.value(field);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least)
      throw this.refusal(field, least === 0 ? "a non-negative integer" : "a positive integer", value);
    if (value > most) throw this.refusal(field, `at most ${most}`, value);
    return value;
  }

  /** A positive integer, or `absent` if the field is missing or null. */
  integerOr(field: string, absent: number): number {
    return this.isNull(field) ? absent : this.integer(field);
  }

  /** A matrix width: a positive multiple of 4, because kernels read vec4. */
  width(field: string): number {
    const value = this.integer(field);
    if (value % 4 === 0) return value;
    throw this.refusal(field, "a multiple of 4", value);
  }

  positive(field: string): number {
    const value = this.value(field);
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw this.refusal(field, "a positive number", value);
  }

  /** A finite number from 0. */
  notNegative(field: string): number {
    const value = this.value(field);
    if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
    throw this.refusal(field, "a number from 0", value);
  }

  /** The eps of a norm: positive and below 1. A larger one would drown the variance. */
  epsilon(field: string): number {
    const value = this.positive(field);
    if (value < 1) return value;
    throw this.refusal(field, "a positive number below 1", value);
  }

  boolean(field: string): boolean {
    const value = this.value(field);
    if (typeof value === "boolean") return value;
    throw this.refusal(field, "true or false", value);
  }

  /** As `boolean`, or `absent` if the field is missing or null. */
  flag(field: string, absent: boolean): boolean {
    return this.isNull(field) ? absent : this.boolean(field);
  }

  /** One of the implemented values, or `absent` if the field is missing or null. */
  oneOf<T extends string | number | boolean>(field: string, values: readonly T[], absent: NoInfer<T>): T {
    if (this.isNull(field)) return absent;
    const value = this.value(field);
    const found = values.find((v) => v === value);
    if (found !== undefined) return found;
    throw this.refusal(field, values.map(show).join(" or "), value, "nothing else is implemented");
  }

  /** Checks an optional list of `count` items that must all be `item`. */
  everyOf(field: string, item: string, count: number): void {
    if (this.isNull(field)) return;
    const value = this.value(field);
    const items = Array.isArray(value) ? (value as unknown[]) : [value];
    const other = items.find((v) => v !== item);
    if (other !== undefined || !Array.isArray(value)) {
      throw this.refusal(field, `a list of ${show(item)}`, other, "nothing else is implemented");
    }
    if (items.length !== count) throw this.refusal(field, `a list of ${count}, one a layer`, items.length);
  }

  /** The error for `field` of this object. */
  refusal(field: string, expected: string, got: unknown, advice?: string): ConfigError {
    return new ConfigError({ file: this.file, field: this.#path + field, expected, got: show(got), advice });
  }
}

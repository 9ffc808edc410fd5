import { type Hash, createHash } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { kindOf } from "../file-kind.js";
import { errorCode } from "../errors.js";
import { isObject, show } from "../json.js";
import { writeFileAtomic } from "../node/files.js";
import { naming } from "../node/write-error.js";
import { TrainFileError } from "./errors.js";

/**
 * One optimiser step, as metrics.jsonl has it. All but the last two are exact and the same in every
 * run.
 */
export interface StepMetrics {
  /** From 1. */
  readonly step: number;
  /** Whether the loss is that of the alignment: of its frames, not of answer tokens. */
  readonly aligned?: true;
  /** Of the data, counted anew where the cross-entropy begins. */
  readonly epoch: number;
  /**
   * Mean cross-entropy of the step's answer tokens, nats; of an alignment see alignment.ts, per
   * frame.
   */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** Tokens of the step: prompts, audio and answers; of an alignment audio alone. */
  readonly tokens: number;
  /** Answer tokens, or aligned frames: the loss is their mean. */
  readonly answerTokens: number;
  /** Wall time of the step. */
  readonly seconds: number;
  /** Bytes of GPU buffers after the step. */
  readonly gpuBytes: number;
}

/** One validation, as metrics.jsonl has it. */
export interface ValidationMetrics {
  readonly step: number;
  readonly validation: {
    /**
     * Mean cross-entropy of the answer tokens, the right answer given, nats; absent where there are
     * no validation clips.
     */
    readonly loss?: number;
    /** Character error rate of decoding, 1 is 100 %; absent where nothing was decoded. */
    readonly cer?: number;
    /**
     * Mean pairwise cosine of the adaptor's output rows: near 1, all audio looks alike to the LLM.
     */
    readonly cosine: number;
    readonly seconds: number;
  };
}

export type Metrics = StepMetrics | ValidationMetrics;

/** Appends to metrics.jsonl, a line a record. */
export class MetricsFile {
  readonly #hash: Hash = createHash("sha256");

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
  ) {}

  /**
   * Opens the file of a run at `step`. Lines past the step and damaged lines are removed.
   * @param digest  of the lines up to the step, as the saved state has it
   * @param onDamage  called with one line where the file was changed
   * @throws TrainFileError  it is no file
   */
  static async open(
    path: string,
    { step, metrics: digest }: { readonly step: number; readonly metrics?: string | undefined },
    onDamage?: (message: string) => void,
  ): Promise<MetricsFile> {
    let damaged = false;
    const lines = await readMetrics(path, (message) => {
      damaged = true;
      onDamage?.(message);
    });
    const kept = lines.filter((line) => line.step <= step);
    const text = kept.map((line) => `${JSON.stringify(line)}\n`).join("");
    await writeFileAtomic(path, [new TextEncoder().encode(text)]);
    const file = new MetricsFile(path, await naming(path, () => open(path, "a")));
    for (const line of kept) file.#hash.update(exactText(line));
    if (!damaged && digest !== undefined && digest !== file.digest)
      onDamage?.(
        `${path}: expected the lines of the saved state, got others; the run goes on, its report shows them`,
      );
    return file;
  }

  /** SHA-256 of the exact fields of all lines, hexadecimal. */
  get digest(): string {
    return this.#hash.copy().digest("hex");
  }

  async append(line: Metrics): Promise<void> {
    await naming(this.path, () => this.handle.appendFile(`${JSON.stringify(line)}\n`));
    this.#hash.update(exactText(line));
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** A line without the figures that depend on the machine's load. */
function exactText(line: Metrics): string {
  return JSON.stringify(line, (key, value: unknown) =>
    key === "seconds" || key === "gpuBytes" ? undefined : value,
  );
}

/**
 * The lines of metrics.jsonl; none where there is no file. A last line without its newline is left
 * out.
 * @param onDamage  called with one line where lines are not of a run; they are left out
 * @throws TrainFileError  it is no file
 */
export async function readMetrics(path: string, onDamage?: (message: string) => void): Promise<Metrics[]> {
  const lines: Metrics[] = [];
  const damaged: string[] = [];
  for (const [i, line] of (await readText(path)).split("\n").slice(0, -1).entries()) {
    const parsed = parseLine(line);
    if (parsed) lines.push(parsed);
    else
      damaged.push(
        `line ${i + 1}: expected an object with a step and its loss or validation, got ${show(line)}`,
      );
  }
  const others = damaged.length > 1 ? ` and ${damaged.length - 1} others are` : " is";
  if (damaged.length > 0) onDamage?.(`${path}: ${damaged[0]}; it${others} left out`);
  return lines;
}

async function readText(path: string): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (!found) return "";
  if (found.isFile()) return readFile(path, "utf8");
  throw new TrainFileError({ file: path, field: "type", expected: "a file", got: kindOf(found) });
}

function parseLine(line: string): Metrics | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = undefined;
  }
  if (isObject(value) && Number.isInteger(value.step)) {
    const [name, numbers] = isObject(value.validation) ? ["cosine", value.validation] : ["loss", value];
    if (typeof numbers[name] === "number") return value as unknown as Metrics;
  }
  return undefined;
}

export function isValidation(line: Metrics): line is ValidationMetrics {
  return "validation" in line;
}

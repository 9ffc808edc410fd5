import { open, readFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { isObject, show } from "../json.js";
import { writeFileAtomic } from "../node/files.js";
import { naming } from "../node/write-error.js";
import { TrainFileError } from "./errors.js";

/** One optimiser step, as metrics.jsonl has it. All but the last two are exact and the same in every run. */
export interface StepMetrics {
  /** From 1. */
  readonly step: number;
  /** Whether the loss is that of the alignment: of its frames, not of answer tokens. */
  readonly aligned?: true;
  /** Of the data, counted anew where the cross-entropy begins. */
  readonly epoch: number;
  /** Mean cross-entropy of the step's answer tokens, nats; of an alignment see alignment.ts, per frame. */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** Tokens of the step: prompts, audio and answers; of an alignment audio alone. */
  readonly tokens: number;
  /** Answer tokens, or frames that were aligned: what the loss is the mean of. */
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
    /** Mean cross-entropy of the answer tokens, the right answer given, nats; absent where there are no validation clips. */
    readonly loss?: number;
    /** Character error rate of decoding, 1 is 100 %; absent where nothing was decoded. */
    readonly cer?: number;
    /** Mean pairwise cosine of the adaptor's output rows: near 1, all audio looks alike to the LLM. */
    readonly cosine: number;
    readonly seconds: number;
  };
}

export type Metrics = StepMetrics | ValidationMetrics;

/** Appends to metrics.jsonl, a line a record. */
export class MetricsFile {
  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
  ) {}

  /**
   * Opens the file of a run that stands at `step`: lines past it, and one that was cut short, are taken away.
   * @throws TrainFileError  a line that is none of a run's
   */
  static async open(path: string, step: number): Promise<MetricsFile> {
    const kept = (await readMetrics(path)).filter((line) => line.step <= step);
    const text = kept.map((line) => `${JSON.stringify(line)}\n`).join("");
    await writeFileAtomic(path, [new TextEncoder().encode(text)]);
    return new MetricsFile(path, await naming(path, () => open(path, "a")));
  }

  async append(line: Metrics): Promise<void> {
    await naming(this.path, () => this.handle.appendFile(`${JSON.stringify(line)}\n`));
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/**
 * The lines of metrics.jsonl; none where there is no file. What follows the last newline was cut short and is left out.
 * @throws TrainFileError  a line that is none of a run's
 */
export async function readMetrics(path: string): Promise<Metrics[]> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  });
  return text
    .split("\n")
    .slice(0, -1)
    .map((line, i) => parseLine(path, line, i + 1));
}

function parseLine(path: string, line: string, number: number): Metrics {
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
  const expected = "an object with a step and its loss or validation";
  throw new TrainFileError({ file: path, field: `line ${number}`, expected, got: show(line) });
}

export function isValidation(line: Metrics): line is ValidationMetrics {
  return "validation" in line;
}

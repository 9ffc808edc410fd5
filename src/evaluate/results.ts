import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, readdirSync, statSync, truncateSync } from "node:fs";
import { basename, join } from "node:path";
import { EvaluateError } from "./metrics/edits.js";
import { type UtteranceRecord, isFailed, parseRecords } from "./record.js";
import type { Measured } from "./report.js";
import { kindOf } from "../file-kind.js";
import { isObject } from "../json.js";
import { withDirectoryLock } from "../node/directory-lock.js";
import { writeFileAtomic } from "../node/files.js";
import { WriteError, writeError } from "../node/write-error.js";
import { makeDirectory } from "../node/make-directory.js";

/** Identifies the run of a directory of results: those of another run are refused. */
export type Identity = Readonly<Record<string, string | number | boolean | null>>;

const runFile = "run.json";

interface RunFile {
  readonly identity: Identity;
  readonly measured: Readonly<Record<string, Measured>>;
}

/**
 * A directory of results: `utterances-WEIGHTS.jsonl`, to which each record is appended as it comes,
 * and `run.json`. Without a directory everything stays in memory.
 */
export class Results {
  readonly #measured = new Map<string, Measured>();
  #check: () => void = () => undefined;

  private constructor(
    private readonly directory: string | undefined,
    private readonly identity: Identity,
  ) {}

  /**
   * Runs `body` on the results, as the only run in their directory.
   * @throws EvaluateError  another run works there; the directory holds another run's results, or
   *                        some without an identity
   */
  static async use<T>(
    directory: string | undefined,
    identity: Identity,
    body: (results: Results) => Promise<T>,
  ): Promise<T> {
    if (directory === undefined) return body(await Results.open(directory, identity));
    return withDirectoryLock(directory, { work: "evaluation", error: EvaluateError }, async (check) => {
      const results = await Results.open(directory, identity);
      results.#check = check;
      return body(results);
    });
  }

  /**
   * Writes the run's identity before the first result.
   * @throws EvaluateError  the directory holds another run's results, or some without an identity
   */
  static async open(directory: string | undefined, identity: Identity): Promise<Results> {
    const results = new Results(directory, identity);
    if (directory === undefined) return results;
    await makeDirectory(directory);
    const names = readdirSync(directory);
    for (const name of names) refuseNoFile(join(directory, name));
    const file = join(directory, runFile);
    const found = names.find((name) => /^utterances-.*\.jsonl$/.test(name));
    if (existsSync(file)) results.#resume(file);
    else if (found === undefined) await results.#writeRun();
    else
      throw new EvaluateError(
        `${join(directory, found)}: expected ${runFile} beside it, got none: whose results these are is not known; name another --out, or remove it`,
      );
    return results;
  }

  /** Records of earlier runs; failed ones are run again. */
  done(weights: string): Map<number, UtteranceRecord> {
    const file = this.#file(weights);
    if (file === undefined || !existsSync(file)) return new Map();
    const text = readFileSync(file, "utf8");
    const records = parseRecords(text, file);
    const whole = Buffer.byteLength(text.slice(0, text.lastIndexOf("\n") + 1));
    named(file, () => truncateSync(file, whole)); // what an interruption left
    for (const [line, record] of records) if (isFailed(record)) records.delete(line);
    return records;
  }

  /**
   * @throws WriteError  the system refused to write; EvaluateError  another run has taken the directory over
   */
  append(weights: string, record: UtteranceRecord): void {
    const file = this.#file(weights);
    if (file === undefined) return;
    this.#check();
    named(file, () => appendFileSync(file, `${JSON.stringify(record)}\n`));
  }

  /** Costs that an earlier run measured with these weights. */
  measured(weights: string): Measured | undefined {
    return this.#measured.get(weights);
  }

  async measure(weights: string, measured: Measured): Promise<void> {
    this.#measured.set(weights, measured);
    await this.#writeRun();
  }

  /** Writes a file of the directory. @returns its path; undefined where there is no directory */
  async write(name: string, text: string): Promise<string | undefined> {
    if (this.directory === undefined) return undefined;
    this.#check();
    const path = join(this.directory, name);
    await writeFileAtomic(path, [new TextEncoder().encode(text)]);
    return path;
  }

  #file(weights: string): string | undefined {
    return this.directory === undefined ? undefined : join(this.directory, `utterances-${weights}.jsonl`);
  }

  async #writeRun(): Promise<void> {
    const run: RunFile = { identity: this.identity, measured: Object.fromEntries(this.#measured) };
    await this.write(runFile, `${JSON.stringify(run, null, 1)}\n`);
  }

  #resume(file: string): void {
    const found = parseJson(readFileSync(file, "utf8"));
    const identity = isObject(found) && isObject(found.identity) ? found.identity : {};
    for (const key of new Set([...Object.keys(this.identity), ...Object.keys(identity)])) {
      const [want, got] = [this.identity[key] ?? null, identity[key] ?? null];
      if (want !== got)
        throw new EvaluateError(
          `${file}: ${key}: expected ${JSON.stringify(want)}, got ${JSON.stringify(got)}; these are another run's results: name another --out, or remove it`,
        );
    }
    const measured = isObject(found) && isObject(found.measured) ? found.measured : {};
    for (const [weights, value] of Object.entries(measured)) this.#measured.set(weights, value as Measured);
  }
}

/**
 * @throws WriteError  something else has the name of a file that a run reads or replaces: opening a
 *                     pipe would wait
 */
function refuseNoFile(file: string): void {
  if (!/^(run\.json|report\.(json|html)|utterances-.*\.jsonl)$/.test(basename(file))) return;
  const found = statSync(file, { throwIfNoEntry: false });
  if (!found || found.isFile()) return;
  const [field, expected, got] = ["write", "a file, or none", kindOf(found)];
  throw new WriteError({ file, field, expected, got, advice: "remove it, or name another --out" });
}

/** @throws WriteError  the system refused to write */
function named(file: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    throw writeError(file, error);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Of a file's bytes, hexadecimal. */
export function fileSha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { TranscriptSegment } from "../decode/segments/recording.js";
import type { StageSeconds } from "../decode/transcriber.js";
import type { SpeechSegment } from "../decode/vad/segmenter.js";
import { isObject } from "../json.js";
import { LineJournal } from "../node/line-journal.js";
import { ggufPaths } from "../node/model-files.js";
import { version } from "./version.js";

type Seconds = Readonly<Record<keyof StageSeconds, number>>;

/** What an interrupted run depended on. Batches are not among it: they change no text. */
export interface Work {
  /** The clip. */
  readonly file: string;
  /** Paths of models that are there. */
  readonly models: readonly string[];
  /** Everything that changes a segment or its text. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** The finished segments of a long clip, kept beside its outputs until they are written. */
export class PartialWork {
  readonly #found = new Map<string, TranscriptSegment>();
  /** Of the segments that were found. */
  readonly seconds: Seconds | undefined;

  private constructor(private readonly journal: LineJournal) {
    for (const value of journal.found) {
      if (!isObject(value) || !isSegment(value["segment"])) continue;
      this.#found.set(keyOf(value["segment"]), value["segment"]);
      this.seconds = value["seconds"] as Seconds;
    }
  }

  /**
   * @param resume  whether segments of an interrupted run of the same work are taken over
   * @throws WriteError  the file cannot be written
   */
  static async open(path: string, work: Work, resume: boolean): Promise<PartialWork> {
    return new PartialWork(LineJournal.open(path, await identityOf(work), resume));
  }

  /** Segments that an interrupted run has done. */
  get size(): number {
    return this.#found.size;
  }

  known({ startMs, endMs }: SpeechSegment): TranscriptSegment | undefined {
    return this.#found.get(keyOf({ start: startMs / 1000, end: endMs / 1000 }));
  }

  /** @param seconds  of all segments so far */
  add(segment: TranscriptSegment, seconds: Seconds): void {
    if (!this.#found.has(keyOf(segment))) this.journal.append({ segment, seconds });
  }

  close(): void {
    this.journal.close();
  }

  remove(): Promise<void> {
    return this.journal.remove();
  }
}

/** Whether a file that a PartialWork keeps has a segment: a line behind its first one. */
export function hasSegments(path: string): boolean {
  const text = readFileSync(path);
  return text.indexOf(10, text.indexOf(10) + 1) > 0;
}

function keyOf({ start, end }: Pick<TranscriptSegment, "start" | "end">): string {
  return `${start} ${end}`;
}

function isSegment(value: unknown): value is TranscriptSegment {
  if (!isObject(value)) return false;
  const { start, end, text, tokenIds, finish } = value;
  const texts = typeof text === "string" && typeof finish === "string";
  return typeof start === "number" && typeof end === "number" && texts && Array.isArray(tokenIds);
}

async function identityOf({ file, models, options }: Work): Promise<string> {
  const audio = createHash("sha256");
  for await (const piece of createReadStream(file) as AsyncIterable<Uint8Array>) audio.update(piece);
  const weights = await Promise.all(models.map(stampsOf));
  const parts = [version, audio.digest("hex"), weights, Object.entries(options).sort()];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** Names, sizes and times of change of a model's files, and of those one directory further down. */
async function stampsOf(model: string): Promise<string[]> {
  const stamp = async (path: string): Promise<string[]> => {
    const found = await stat(path).catch(() => undefined);
    return found?.isFile() ? [`${path} ${found.size} ${found.mtimeMs}`] : [];
  };
  const list = async (path: string): Promise<string[]> =>
    (await readdir(path).catch(() => [])).sort().map((name) => join(path, name));
  const stamps: string[] = [];
  for (const path of ggufPaths(model) ?? (await list(model))) {
    stamps.push(...(await stamp(path)));
    for (const inner of await list(path)) stamps.push(...(await stamp(inner)));
  }
  return stamps;
}

import { mkdir, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { errorCode } from "../../errors.js";
import { makeDirectory } from "../../node/make-directory.js";
import { inWork, removeLeftovers, unfinishedName } from "../../node/unfinished.js";
import { naming } from "../../node/write-error.js";
import { CorpusDirectory, INDEX, MANIFEST, names, sha256, short } from "../directory.js";
import { corpusError } from "../errors.js";
import { line } from "../item.js";
import { type CorpusOptions, type Manifest, type PlannedFiles, identityOf } from "../manifest.js";
import { readInput } from "./input.js";
import { withLengths } from "./lengths.js";
import { ShardWriter, piecesOf } from "./shards.js";

/** What is planned, and how. */
export interface PlanOptions {
  /** JSONL, `wav.scp`, directories or WebDataset tars. */
  readonly inputs: readonly string[];
  readonly out: string;
  /** Of this package. */
  readonly version: string;
  readonly model: PlannedFiles;
  readonly lora?: readonly PlannedFiles[];
  readonly vad: PlannedFiles;
  readonly options?: CorpusOptions;
  /** Default: 3600. */
  readonly shardSeconds?: number;
  /** Default: 1800. */
  readonly cutSeconds?: number;
  /** Utterances at most. */
  readonly limit?: number;
  /** Called with each line of the input that has no utterance. */
  readonly onSkip?: (place: string, why: string) => void;
  /** Called with the utterances so far. */
  readonly onProgress?: (utterances: number, seconds: number) => void;
}

export const PLAN_DEFAULTS = { shardSeconds: 3600, cutSeconds: 1800 } as const;

/**
 * Plans a corpus: its utterances in shards of about an hour, and all that decides their results. A
 * directory that has the same plan stays as it is.
 * @returns  the plan, and whether it was there
 * @throws CorpusError  no utterance, an input of another kind, a directory that holds something else;
 *                      WriteError
 */
export async function planCorpus(
  options: PlanOptions,
): Promise<{ readonly manifest: Manifest; readonly existed: boolean }> {
  const out = resolve(options.out);
  await refuseOthers(out, options.out);
  await makeDirectory(dirname(out));
  await removeLeftovers(out);
  const unfinished = await unfinishedName(out);
  const done = inWork(unfinished);
  try {
    await naming(options.out, () => mkdir(unfinished));
    const manifest = await writePlan(unfinished, options);
    return { manifest, existed: !(await moveIntoPlace(unfinished, out, manifest.id)) };
  } finally {
    await rm(unfinished, { recursive: true, force: true });
    done();
  }
}

async function writePlan(directory: string, options: PlanOptions): Promise<Manifest> {
  const { shardSeconds = PLAN_DEFAULTS.shardSeconds, cutSeconds = PLAN_DEFAULTS.cutSeconds } = options;
  const { inputs, limit = Infinity, onSkip, onProgress } = options;
  await naming(options.out, () => mkdir(join(directory, "shards")));
  const writer = new ShardWriter(join(directory, "shards"), shardSeconds);
  const tally = { utterances: 0, seconds: 0, unknown: 0, skipped: 0 };
  reading: for (const input of inputs) {
    for await (const found of withLengths(readInput(input))) {
      if (tally.utterances >= limit) break reading;
      if ("skipped" in found) {
        tally.skipped++;
        onSkip?.(found.skipped, found.why);
        continue;
      }
      const { item } = found;
      if (item.seconds === undefined) tally.unknown++;
      for (const piece of piecesOf(item, tally.utterances, cutSeconds)) await writer.add(piece);
      tally.utterances++;
      tally.seconds += item.seconds ?? 0;
      if (tally.utterances % 1000 === 0) onProgress?.(tally.utterances, tally.seconds);
    }
  }
  await writer.end();
  if (tally.utterances === 0)
    throw corpusError(inputs.join(", "), "content", "an utterance or more", `none, ${tally.skipped} skipped`);
  const index = writer.shards.map((shard) => line({ ...shard })).join("");
  const { version, model, lora = [], vad, options: asked = {} } = options;
  const decides = { format: 1 as const, version, model, lora, vad, options: asked, index: sha256(index) };
  const manifest: Manifest = {
    id: identityOf(decides),
    ...decides,
    inputs: inputs.map((input) => resolve(input)),
    shardSeconds,
    cutSeconds,
    shards: writer.shards.length,
    ...tally,
    seconds: Math.round(tally.seconds * 1000) / 1000,
  };
  await naming(options.out, async () => {
    await writeFile(join(directory, INDEX), index);
    await writeFile(join(directory, MANIFEST), `${JSON.stringify(manifest, undefined, 2)}\n`);
  });
  return manifest;
}

/** @throws CorpusError  the directory holds something that is no plan */
async function refuseOthers(path: string, name: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isDirectory())
    throw corpusError(name, "directory", "a new or an empty directory", "a file", "name another");
  const inside = await names(path);
  if (inside.length === 0 || inside.includes(MANIFEST)) return;
  const expected = "a new or an empty directory";
  throw corpusError(name, "directory", expected, `one that holds ${inside.length} files`, "name another");
}

/** @returns  false where the directory has the same plan. @throws CorpusError  another plan */
async function moveIntoPlace(unfinished: string, out: string, id: string): Promise<boolean> {
  await rmdir(out).catch(() => undefined); // an empty one
  try {
    await rename(unfinished, out);
    return true;
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes(errorCode(error) ?? "")) throw error;
  }
  const { manifest } = await CorpusDirectory.open(out);
  if (manifest.id === id) return false;
  const got = `the plan ${short(manifest.id)}, of other input, options, model or version`;
  throw corpusError(basename(out), "plan", short(id), got, "name another directory");
}

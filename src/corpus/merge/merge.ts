import { writeFileAtomic } from "../../node/files.js";
import type { CorpusDirectory } from "../directory.js";
import { line } from "../item.js";
import { type ReadCorpusOptions, mergedParts } from "./read.js";

export interface MergeOptions extends ReadCorpusOptions {
  readonly out: string;
}

/** What a merge wrote. */
export interface MergeTally {
  records: number;
}

/**
 * Writes the results of all shards to one JSONL file. It depends on the plan alone.
 * @throws CorpusError  a shard is not done; WriteError
 */
export async function mergeCorpus(directory: CorpusDirectory, options: MergeOptions): Promise<MergeTally> {
  const tally: MergeTally = { records: 0 };
  await writeFileAtomic(options.out, bytes(directory, options, tally));
  return tally;
}

async function* bytes(
  directory: CorpusDirectory,
  options: MergeOptions,
  tally: MergeTally,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const part of mergedParts(directory, options)) {
    if (Array.isArray(part)) {
      tally.records += part.length;
      yield Buffer.from(part.map((record) => line(record)).join(""));
    } else {
      tally.records += linesOf(part);
      yield part;
    }
  }
}

function linesOf(text: Uint8Array): number {
  let lines = 0;
  for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, at + 1)) lines++;
  return lines;
}

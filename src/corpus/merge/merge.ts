import { writeFileAtomic } from "../../node/files.js";
import type { CorpusDirectory } from "../directory.js";
import { type ResultRecord, line } from "../item.js";
import { type Filters, type Reason, reasonAgainstRecord } from "./lines.js";
import { type ReadCorpusOptions, mergedParts, recordsOf } from "./read.js";

export interface MergeOptions extends ReadCorpusOptions {
  readonly out: string;
  /** Records that do not pass as a whole are left out. */
  readonly filters?: Filters;
}

/** What a merge wrote. */
export interface MergeTally {
  records: number;
  readonly dropped: Partial<Record<Reason, number>>;
}

/**
 * Writes the results of all shards to one JSONL file. It depends on the plan alone.
 * @throws CorpusError  a shard is not done; WriteError
 */
export async function mergeCorpus(directory: CorpusDirectory, options: MergeOptions): Promise<MergeTally> {
  const tally: MergeTally = { records: 0, dropped: {} };
  await writeFileAtomic(options.out, bytes(directory, options, tally));
  return tally;
}

async function* bytes(
  directory: CorpusDirectory,
  options: MergeOptions,
  tally: MergeTally,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { filters = {} } = options;
  const isFiltered = Object.keys(filters).length > 0;
  for await (const part of mergedParts(directory, options)) {
    if (!Array.isArray(part) && !isFiltered) {
      tally.records += linesOf(part);
      yield part;
      continue;
    }
    const records = Array.isArray(part) ? part : recordsOf(part);
    const kept = isFiltered ? records.filter((record) => passes(record, filters, tally)) : records;
    tally.records += kept.length;
    yield Buffer.from(kept.map((record) => line(record)).join(""));
  }
}

function passes(record: ResultRecord, filters: Filters, { dropped }: MergeTally): boolean {
  const why = reasonAgainstRecord(record, filters);
  if (why !== undefined) dropped[why] = (dropped[why] ?? 0) + 1;
  return why === undefined;
}

function linesOf(text: Uint8Array): number {
  let lines = 0;
  for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, at + 1)) lines++;
  return lines;
}

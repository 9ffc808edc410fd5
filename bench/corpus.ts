// The size that a corpus may have: npm run bench:corpus. A manifest of 1,000,000 utterances is planned;
// 10,000 shards with made results are counted and merged. It writes bench/results/corpus-scale.json.
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CorpusDirectory } from "../src/corpus/directory.js";
import { mergeCorpus } from "../src/corpus/merge/merge.js";
import { planCorpus } from "../src/corpus/plan/plan.js";
import { corpusStatus } from "../src/corpus/status.js";
import { runShard } from "../src/corpus/workers/shard-result.js";

const folder = mkdtempSync(join(tmpdir(), "bench-corpus-"));
const files = { name: "none", sha256: "0" };

async function plan(
  count: number,
  shardSeconds: number,
  name: string,
): Promise<{ path: string; seconds: number }> {
  const list = join(folder, `${name}.jsonl`);
  const stream = createWriteStream(list);
  for (let i = 0; i < count; i++) {
    const text = "the words that somebody said in this utterance";
    const line = {
      audio_filepath: `/corpus/part-${i % 1000}/speaker/${i}.flac`,
      duration: 5 + (i % 100) / 10,
      text,
    };
    if (!stream.write(`${JSON.stringify(line)}\n`)) await once(stream, "drain");
  }
  stream.end();
  await once(stream, "close");
  const begun = performance.now();
  const path = join(folder, name);
  await planCorpus({ inputs: [list], out: path, version: "1", model: files, vad: files, shardSeconds });
  return { path, seconds: (performance.now() - begun) / 1000 };
}

const engine = {
  width: 1,
  device: "none",
  run: () => Promise.resolve({ seconds: 8, segments: [{ start: 0, end: 8, text: "words that were heard" }] }),
  usage: () => ({ gpuSeconds: 0, restarts: 0 }),
  stop: () => Promise.resolve(),
};

async function timed(body: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await body();
  return (performance.now() - begun) / 1000;
}

try {
  const million = await plan(1_000_000, 3600, "million");
  const megabytes = process.resourceUsage().maxRSS / 1000;
  const { path } = await plan(200_000, 190, "many");
  const directory = await CorpusDirectory.open(path);
  for (const made of [directory.resultPath(0, 0), directory.donePath(0, 0)]) mkdirSync(dirname(made));
  for (const shard of directory.shards) {
    const { signal } = new AbortController();
    const { text, done } = await runShard(directory, { shard, round: 0 }, { engine, signal });
    writeFileSync(directory.resultPath(shard.shard, 0), text);
    writeFileSync(directory.donePath(shard.shard, 0), JSON.stringify(done));
  }
  const out = join(folder, "merged.jsonl");
  const status = await timed(async () => corpusStatus(await CorpusDirectory.open(path)));
  const merge = await timed(async () => mergeCorpus(await CorpusDirectory.open(path), { out }));
  const round = (value: number): number => Math.round(value * 100) / 100;
  const result = {
    plan: {
      utterances: 1_000_000,
      seconds: round(million.seconds),
      residentMegabytes: Math.round(megabytes),
    },
    shards: directory.shards.length,
    statusSeconds: round(status),
    mergeSeconds: round(merge),
    mergedBytes: statSync(out).size,
  };
  writeFileSync(
    new URL("results/corpus-scale.json", import.meta.url),
    `${JSON.stringify(result, undefined, 1)}\n`,
  );
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

// A worker of a corpus in a process of its own, with an engine that makes texts from names:
// node corpus-worker.js '{"path", "way": "claims" or "queue", "url"?, "leaseMs"?, "itemMs"?, ...}'.
// It needs the build. It prints a line for each shard, and ends with 3 where it could not go on.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { CorpusDirectory } from "../../dist/corpus/directory.js";
import { ItemFailure } from "../../dist/corpus/engine/engine.js";
import { Claims } from "../../dist/corpus/workers/claims.js";
import { workCorpus, workerName } from "../../dist/corpus/workers/worker.js";

const {
  path,
  way,
  url,
  leaseMs,
  lockMs,
  itemMs = 5,
  pollMs = 200,
  backoffMs = 200,
  attempts,
} = JSON.parse(process.argv[2]);

/** The text depends on the item alone. */
const engine = {
  width: 4,
  device: "none",
  async run(item, signal) {
    await sleep(itemMs, undefined, { signal });
    const name = `${item.audio} ${item.index} ${item.piece?.part ?? ""}`;
    if (item.audio.includes("bad")) throw new ItemFailure("audio", `${item.audio}: no audio`);
    if (item.audio.includes("broken")) throw new Error(`${item.audio}: the disk does not answer`);
    const text = createHash("sha256").update(name).digest("hex").slice(0, 24);
    const seconds = item.seconds ?? 1;
    return { seconds, segments: [{ start: 0, end: seconds, text, agreement: 0.9 }] };
  },
  usage: () => ({ gpuSeconds: 0, restarts: 0 }),
  stop: async () => undefined,
};

const note = (text) => process.stderr.write(`${text}\n`);
const directory = await CorpusDirectory.open(path);
const worker = workerName();
const options = { directory, worker, pollMs, backoffMs, onNote: note, ...(attempts && { attempts }) };
const source =
  way === "claims"
    ? new Claims({ ...options, leaseMs })
    : new (await import("../../dist/corpus/workers/queue.js")).RedisQueue({ ...options, url, lockMs });
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
try {
  const onShard = ({ shard, outcome }) => process.stdout.write(`${outcome} ${shard}\n`);
  const { failed } = await workCorpus({ directory, source, engine, worker, signal: stop.signal, onShard });
  process.exit(failed.size > 0 ? 1 : 0);
} catch (error) {
  note(error.message);
  process.exit(3);
}

/**
 * Feeds a recording to a real `serve` on loopback, as fast as it was spoken and faster, in one
 * stream and in several: `npm run bench:live -- [--streams 1,4,8] [--speeds 1,4] [--clips 10] [--write]`.
 * Prints how long after the speech final texts and stable words come, and how many final texts are
 * those of the clips alone. --write adds bench/results/live-DEVICE-COMMIT.json; `npm run bench:table --
 * FILE` puts its table into docs/serving.md. About four minutes.
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { openDevice } from "../src/node/device.js";
import { serve } from "../test/helpers/serve.js";
import { commitName, deviceName, writeResult } from "./result.js";
import { type LiveResult, type LiveResults, liveTable } from "./serving/live-results.js";
import { type LiveClip, liveClips, liveStream, pauseSeconds } from "./serving/live-stream.js";
import { idle, sleep } from "./serving/process.js";
import { quantiles } from "./serving/results.js";

const { values } = parseArgs({
  options: {
    streams: { type: "string", default: "1,4,8" },
    speeds: { type: "string", default: "1,4" },
    clips: { type: "string", default: "10" },
    write: { type: "boolean", default: false },
  },
});
const staggerMs = 700; // from the begin of a stream to that of the next

/** Streams that begin one after the other, each with another clip first. */
async function streams(
  address: string,
  clips: readonly LiveClip[],
  count: number,
  speed: number,
): Promise<LiveResult> {
  const all = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      await sleep((i * staggerMs) / speed);
      const from = i % clips.length;
      return liveStream(address, [...clips.slice(from), ...clips.slice(0, from)], speed);
    }),
  );
  await idle(address);
  const sum = (of: (seen: (typeof all)[number]) => number): number =>
    all.reduce((so, seen) => so + of(seen), 0);
  return {
    streams: count,
    speed,
    final: quantiles(all.flatMap(({ final }) => final)),
    stable: quantiles(all.flatMap(({ stable }) => stable)),
    words: sum(({ words }) => words),
    early: sum(({ stable }) => stable.length),
    finals: sum(({ finals }) => finals),
    equal: sum(({ equal }) => equal),
    missing: Math.max(0, count * clips.length - sum(({ finals }) => finals)),
    retracted: sum(({ retracted }) => retracted),
    realTimeFactor: sum((seen) => (seen.ended - seen.begun) / 1000 / seen.audioSeconds) / count,
  };
}

const { gpu, adapter } = await openDevice({ quiet: true });
gpu.destroy();
const before = loadavg()[0];
const serving = await serve();
try {
  const clips = (await liveClips(serving.address)).slice(0, Number(values.clips));
  const runs: LiveResult[] = [];
  for (const speed of values.speeds.split(",").map(Number))
    for (const count of values.streams.split(",").map(Number)) {
      runs.push(await streams(serving.address, clips, count, speed));
      process.stderr.write(`${JSON.stringify(runs.at(-1))}\n`);
    }
  const report: LiveResults = {
    command: `npm run bench:live -- ${process.argv.slice(2).join(" ")}`.trim(),
    commit: commitName(),
    adapter: adapter.description,
    node: process.version,
    cores: cpus().length,
    cpu: cpus()[0].model,
    load: [before, loadavg()[0]],
    clips: clips.length,
    audioSeconds: clips.reduce((sum, { samples }) => sum + samples.length / 16_000 + pauseSeconds, 0),
    pauseSeconds,
    runs,
  };
  console.log(liveTable(report));
  if (values.write) console.log(writeResult(`live-${deviceName(adapter)}-${commitName()}`, report));
} finally {
  await serving.end();
}

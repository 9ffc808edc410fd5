/**
 * Times requests that come at random to a TranscriptionEngine against the same clips one at a time
 * and in one batch: `npm run bench:engine [-- --model DIR] [--clips N] [--rounds N] [--within MS]
 * [--write]`. The clips are the demo's, in turn; they come within so many milliseconds. Each round
 * runs all of them in turn; the first one warms up. Prints medians: wall time from the first request
 * to the last result, CPU time of the process (on a software adapter it includes the device's work),
 * clips a second and their ratio to one at a time, submits, and bind groups that were made. Then the
 * time of one live clip, alone and while the others run and wait. --write adds
 * bench/results/engine-DEVICE-COMMIT.json.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { TranscriptionEngine } from "../src/decode/engine/engine.js";
import { loadTranscriber } from "../src/decode/load.js";
import { decodeClip } from "../src/node/clip.js";
import { demoModel } from "../src/node/demo.js";
import { openDevice } from "../src/node/device.js";
import { uniformNumbers } from "../src/random.js";
import { commitName, deviceName, writeResult } from "./result.js";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: demoModel },
    clips: { type: "string", default: "16" },
    rounds: { type: "string", default: "7" },
    within: { type: "string", default: "200" },
    write: { type: "boolean", default: false },
  },
});
const { gpu, adapter } = await openDevice();
const transcriber = await loadTranscriber(gpu, values.model);
const folder = join(demoModel, "clips");
const files = readdirSync(folder).filter((name) => !name.endsWith(".jsonl"));
const demo = await Promise.all(
  files.map(async (name) => transcriber.prepare(await decodeClip(join(folder, name)), name)),
);
const clips = Array.from({ length: Number(values.clips) }, (_, i) => demo[i % demo.length]);
const engine = new TranscriptionEngine(transcriber);
const random = uniformNumbers(1);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

const ways: Readonly<Record<string, () => Promise<unknown>>> = {
  "one at a time": async () => {
    for (const clip of clips) await transcriber.transcribe([clip]);
  },
  "one batch": () => transcriber.transcribe(clips),
  "engine, at once": () => Promise.all(clips.map((clip) => engine.submit(clip))),
  "engine, at random": () =>
    Promise.all(
      clips.map(async (clip) => {
        await pause(random() * Number(values.within));
        return engine.submit(clip);
      }),
    ),
};

interface Run {
  readonly wall: number;
  readonly cpu: number;
  readonly submits: number;
  readonly bindGroups: number;
  readonly pipelines: number;
}

async function measure(way: () => Promise<unknown>): Promise<Run> {
  const { counts } = gpu;
  const used = process.cpuUsage();
  const began = performance.now();
  await way();
  const wall = performance.now() - began;
  const { user, system } = process.cpuUsage(used);
  return {
    wall,
    cpu: (user + system) / 1000,
    submits: gpu.counts.submits - counts.submits,
    bindGroups: gpu.counts.bindGroups - counts.bindGroups,
    pipelines: gpu.counts.pipelines - counts.pipelines,
  };
}

const runs = new Map<string, Run[]>(Object.keys(ways).map((name) => [name, []]));
const live: { alone: number[]; beside: number[] } = { alone: [], beside: [] };
const liveClip = async (): Promise<number> =>
  (await measure(() => engine.submit(demo[0], { priority: "live" }))).wall;
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [name, way] of Object.entries(ways)) {
    const run = await measure(way);
    if (round > 0) runs.get(name)!.push(run);
  }
  const alone = await liveClip();
  const others = Promise.all([...clips, ...clips].map((clip) => engine.submit(clip)));
  await pause(50);
  const beside = await liveClip();
  await others;
  if (round === 0) continue;
  live.alone.push(alone);
  live.beside.push(beside);
}

const base = median(runs.get("one at a time")!.map(({ wall }) => wall));
const rows = [...runs].map(([name, all]) => {
  const middle = (key: keyof Run): number => Math.round(median(all.map((run) => run[key])));
  const wall = middle("wall");
  const perSecond = Number(((1000 * clips.length) / wall).toPrecision(3));
  const ratio = Number((base / wall).toPrecision(3));
  const counts = {
    submits: middle("submits"),
    bindGroups: middle("bindGroups"),
    pipelines: middle("pipelines"),
  };
  return { name, wall, cpu: middle("cpu"), perSecond, ratio, ...counts };
});
console.table(rows);
const result = {
  rows,
  live: { alone: Math.round(median(live.alone)), beside: Math.round(median(live.beside)) },
};
console.log("a live clip, ms:", result.live);
if (values.write) {
  const all = { device: deviceName(adapter), commit: commitName(), clips: clips.length, ...result };
  console.log(writeResult(`engine-${deviceName(adapter)}-${commitName()}`, all));
}
await engine.close();
gpu.destroy();
process.exit(0);

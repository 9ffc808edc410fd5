/**
 * Loads a real `serve` on loopback with the demo's clips: `npm run bench:serve -- [--clients 1,4,16,64]
 * [--seconds 60] [--rounds 3] [--requests 5000] [--write]`.
 * Each round has every number of clients in turn, by autocannon, for seconds / rounds from the
 * moment when each client could have had an answer. Then streamed answers, for the time to the first
 * word; requests at random moments at half of the best rate; and more requests until there were
 * `--requests`, with memory read between them, when nothing runs. Last, a server with few places, for
 * the bound of its queue.
 * Each text is compared with that of its clip alone. --write adds
 * bench/results/serve-DEVICE-COMMIT.json; `npm run bench:table -- FILE` puts its table into
 * docs/serving.md. Linux.
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { openDevice } from "../src/node/device.js";
import { serve } from "../test/helpers/serve.js";
import { commitName, deviceName, writeResult } from "./result.js";
import { type ClipRequest, Seen, arrivals, clients, clipRequests, streams } from "./serving/load.js";
import { idle, memory, metrics, sleep } from "./serving/process.js";
import {
  type ClientsResult,
  type MemorySample,
  type ServeResults,
  quantiles,
  spread,
} from "./serving/results.js";
import { serveTable } from "./serving/table.js";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "1,4,16,64" },
    seconds: { type: "string", default: "60" },
    rounds: { type: "string", default: "3" },
    requests: { type: "string", default: "5000" },
    write: { type: "boolean", default: false },
  },
});
const counts = values.clients.split(",").map(Number);
const rounds = Number(values.rounds);
const seconds = Number(values.seconds) / rounds;
const wanted = Number(values.requests);
const places = { concurrency: 2, queue: 4 };
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const totals = { compared: 0, different: 0, failed: 0 };
function add(seen: Seen): Seen {
  totals.compared += seen.seconds.length;
  totals.different += seen.different;
  totals.failed += seen.failed;
  return seen;
}

/** The rounds, then the streams. */
async function underClients(
  address: string,
  requests: readonly ClipRequest[],
  sample: () => Promise<void>,
): Promise<ClientsResult[]> {
  const seen = new Map<number, Seen[]>(counts.map((count) => [count, []]));
  for (let round = 0; round < rounds; round++) {
    for (const count of counts) {
      const one = add(await clients(address, requests, count, { seconds }));
      await sample();
      seen.get(count)!.push(one);
      say(`${count} clients: ${(one.seconds.length / one.elapsed).toFixed(2)} clips/s`);
    }
  }
  const results: ClientsResult[] = [];
  for (const count of counts) {
    const all = seen.get(count)!;
    const streamed = add(await streams(address, requests, count, seconds / 2));
    await sample();
    results.push({
      clients: count,
      clipsPerSecond: spread(all.map((one) => one.seconds.length / one.elapsed)),
      timesRealTime: spread(all.map((one) => one.audioSeconds / one.elapsed)).median,
      seconds: quantiles(all.flatMap((one) => one.seconds)),
      firstWord: quantiles(streamed.firstWords),
    });
  }
  return results;
}

/** More clients than a small server has places for. */
async function queueBound(requests: readonly ClipRequest[]): Promise<ServeResults["queue"]> {
  const { concurrency, queue } = places;
  const serving = await serve(["--concurrency", `${concurrency}`, "--queue", `${queue}`]);
  const most = Math.max(...counts);
  try {
    let [mostOpen, running] = [0, true];
    const watch = async (): Promise<void> => {
      while (running) {
        mostOpen = Math.max(mostOpen, (await metrics(serving.address)).get("requests_open")!);
        await sleep(50);
      }
    };
    const watched = watch();
    const seen = await clients(serving.address, requests, most, { seconds: Math.min(10, seconds) });
    running = false;
    await watched;
    await idle(serving.address);
    const refused = seen.statuses.get(429) ?? 0;
    return {
      clients: most,
      places: concurrency + queue,
      mostOpen,
      answered: seen.seconds.length,
      refused,
      other: seen.withoutRetry + seen.failed - refused + seen.different,
    };
  } finally {
    await serving.end();
  }
}

const { gpu, adapter } = await openDevice({ quiet: true });
gpu.destroy();
const before = loadavg()[0];
const serving = await serve();
try {
  const { address } = serving;
  const requests = await clipRequests(address);
  const samples: MemorySample[] = [];
  const sample = async (): Promise<void> => {
    samples.push(await memory(serving, totals.compared));
  };
  const results = await underClients(address, requests, sample);
  const best = Math.max(...results.map(({ clipsPerSecond }) => clipsPerSecond.median));
  const half = add(await arrivals(address, requests, best / 2, seconds * rounds));
  await sample();
  while (totals.compared < wanted) {
    const amount = Math.max(Math.min(16, wanted), Math.min(wanted - totals.compared, Math.ceil(wanted / 10)));
    add(await clients(address, requests, Math.min(16, amount), { amount }));
    await sample();
    say(`${totals.compared} requests: ${JSON.stringify(samples.at(-1))}`);
  }
  const report: ServeResults = {
    command: `npm run bench:serve -- ${process.argv.slice(2).join(" ")}`.trim(),
    commit: commitName(),
    adapter: adapter.description,
    node: process.version,
    cores: cpus().length,
    cpu: cpus()[0].model,
    load: [before, loadavg()[0]],
    rounds,
    seconds,
    clips: requests.length,
    audioSeconds: requests.reduce((sum, { audioSeconds }) => sum + audioSeconds, 0),
    clients: results,
    half: { perSecond: best / 2, seconds: quantiles(half.seconds), firstWord: quantiles(half.firstWords) },
    memory: samples,
    answers: totals,
    queue: await queueBound(requests),
  };
  console.log(serveTable(report));
  if (values.write) console.log(writeResult(`serve-${deviceName(adapter)}-${commitName()}`, report));
} finally {
  await serving.end();
}

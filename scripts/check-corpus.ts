// Faults against workers of a corpus: npm run check:corpus. Four workers are killed 200 times while
// they take shards by claim files (some are frozen past their lease), and 200 times while they take
// them from Redis, which loses everything twice and is cut off for a minute. Then the demo's model
// runs with a few kills. The merged bytes must be those of one worker alone. An engine that makes texts
// from names stands in for the model where nothing else is said. A run that ended before all of its
// faults were done has failed. Without redis-server the exit code is 3 (under CI 1), and nothing is
// written. The results go to bench/results/corpus-faults.json.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CorpusDirectory } from "../src/corpus/directory.js";
import { corpusStatus } from "../src/corpus/status.js";
import { demoModel } from "../src/node/demo.js";
import { uniformNumbers } from "../src/random.js";
import { binary, cli } from "../test/helpers/cli.js";
import { type WorkerSettings, mergedText, planNames, startWorker } from "../test/helpers/corpus.js";

const KILLS = Number(process.env.KILLS ?? 200);
const CUT_MS = Number(process.env.CUT_MS ?? 60_000);
const SHARDS = 5 * KILLS;
const folder = mkdtempSync(join(tmpdir(), "check-corpus-"));
const path = (name: string): string => join(folder, name);
const random = uniformNumbers(18);
const names = Array.from({ length: 5 * SHARDS }, (_, i) => `/audio/${i % 101 === 7 ? "bad" : "a"}-${i}.wav`);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** Keeps four workers running and kills one after another. */
class Crew {
  readonly #workers = new Map<ChildProcess, boolean>();
  #open = true;
  kills = 0;
  freezes = 0;

  constructor(private readonly settings: WorkerSettings) {
    for (let i = 0; i < 4; i++) this.#start();
  }

  #start(): void {
    const worker = startWorker(this.settings);
    this.#workers.set(worker, false);
    worker.stdout!.once("data", () => this.#workers.set(worker, true));
    worker.stderr!.resume();
    worker.once("exit", () => {
      this.#workers.delete(worker);
      if (this.#open) this.#start();
    });
  }

  #pick(): ChildProcess | undefined {
    const busy = [...this.#workers].filter(([, worked]) => worked).map(([worker]) => worker);
    return busy.at(Math.floor(random() * busy.length));
  }

  kill(): void {
    const worker = this.#pick();
    if (worker?.kill("SIGKILL")) this.kills++;
  }

  async freeze(ms: number): Promise<void> {
    const worker = this.#pick();
    if (!worker?.kill("SIGSTOP")) return;
    this.#workers.set(worker, false);
    await sleep(ms);
    if (worker.kill("SIGCONT")) this.freezes++;
  }

  async end(): Promise<void> {
    this.#open = false;
    const workers = [...this.#workers.keys()];
    for (const worker of workers) worker.kill("SIGTERM");
    const running = workers.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    await Promise.all(running.map((worker) => once(worker, "exit")));
  }
}

async function workTogether(settings: WorkerSettings, count: number): Promise<void> {
  const workers = Array.from({ length: count }, () => startWorker(settings));
  for (const worker of workers) for (const stream of [worker.stdout!, worker.stderr!]) stream.resume();
  await Promise.all(workers.map((worker) => once(worker, "exit")));
}

/** Whether nothing is left to kill for. */
async function isDone(directory: string): Promise<boolean> {
  const done = await readdir(join(directory, "done")).catch(() => []);
  return done.length >= SHARDS;
}

async function killed(
  settings: WorkerSettings,
  events: ReadonlyMap<number, () => Promise<void>>,
): Promise<Crew> {
  const crew = new Crew({ ...settings, itemMs: 400 });
  for (let before = -1; crew.kills < KILLS;) {
    await sleep(100 + 400 * random());
    if (await isDone(settings.path)) break;
    crew.kill();
    if (crew.kills !== before) await events.get(crew.kills)?.();
    if (crew.kills !== before && settings.way === "claims" && crew.kills % 25 === 0)
      await crew.freeze(2 * settings.leaseMs!);
    before = crew.kills;
  }
  await crew.end();
  await workTogether({ ...settings, itemMs: 1 }, 3);
  return crew;
}

interface Outcome {
  readonly run: string;
  readonly workers: string;
  readonly faults: string;
  readonly shards: number;
  readonly tries: number;
  readonly equal: boolean;
  /** Every fault of the plan was put. */
  readonly whole: boolean;
  readonly seconds: number;
}
const outcomes: Outcome[] = [];

async function judge(
  run: string,
  name: string,
  want: string,
  about: Pick<Outcome, "workers" | "faults" | "whole">,
  begun: number,
): Promise<void> {
  const status = await corpusStatus(await CorpusDirectory.open(path(name)));
  const { all, done } = status.shards;
  const equal = (await mergedText(path(name))) === want && done === all;
  const seconds = Math.round((performance.now() - begun) / 1000);
  outcomes.push({ run, ...about, shards: done, tries: done + status.costs.retries, equal, seconds });
  const fine = equal && about.whole;
  const few = about.whole ? "" : ", which are too few";
  say(`${fine ? "ok  " : "FAIL"} ${run}: ${done} of ${all} shards, ${about.faults}${few}, ${seconds} s`);
}

/** A connection to Redis that can be cut: it stays open, and nothing passes. */
class Proxy {
  readonly #sockets = new Set<Socket>();
  #cut = false;

  private constructor(readonly port: number) {}

  static async start(to: number): Promise<Proxy> {
    const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new Proxy((server.address() as { port: number }).port);
    server.on("connection", (inner) => {
      const outer = connect(to, "127.0.0.1");
      for (const [from, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        proxy.#sockets.add(from);
        from.on("data", (data) => other.write(data));
        from.on("error", () => other.destroy());
        from.on("close", () => {
          proxy.#sockets.delete(from);
          other.destroy();
        });
      }
      if (proxy.#cut) for (const socket of [inner, outer]) socket.pause();
      else inner.resume();
    });
    server.unref();
    return proxy;
  }

  async cut(ms: number): Promise<void> {
    this.#cut = true;
    for (const socket of this.#sockets) socket.pause();
    await sleep(ms);
    this.#cut = false;
    for (const socket of this.#sockets) socket.resume();
  }
}

async function startRedis(port: number): Promise<ChildProcess> {
  const options = [
    "--port",
    `${port}`,
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "no",
    "--dir",
    folder,
  ];
  const server = spawn("redis-server", options, { stdio: "ignore" });
  await sleep(1000);
  return server;
}

const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;

async function queueRun(want: string): Promise<void> {
  if (!hasRedis) {
    say("skip queue: redis-server is not installed; apt-get install redis-server");
    return;
  }
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  let redis = await startRedis(port);
  const proxy = await Proxy.start(port);
  let [restarts, cuts] = [0, 0];
  const restart = async (): Promise<void> => {
    redis.kill("SIGKILL");
    await once(redis, "exit");
    await sleep(2000);
    redis = await startRedis(port);
    restarts++;
  };
  const begun = performance.now();
  const third = Math.floor(KILLS / 3);
  const events = new Map([
    [third, restart],
    [2 * third, restart],
    [
      KILLS - 20,
      () =>
        proxy.cut(CUT_MS).then(() => {
          cuts++;
        }),
    ],
  ]);
  const settings = {
    path: path("queue"),
    way: "queue",
    url: `redis://127.0.0.1:${proxy.port}`,
    lockMs: 2000,
  } as const;
  const crew = await killed(settings, events);
  const faults = `${crew.kills} kills, ${restarts} times Redis lost everything, ${(cuts * CUT_MS) / 1000} s without network`;
  const whole = crew.kills >= KILLS && restarts === 2 && cuts === 1;
  await judge("queue", "queue", want, { workers: "4, then 3", faults, whole }, begun);
  redis.kill("SIGKILL");
}

/** The demo's model by the command line, with a few kills. */
async function demoRun(): Promise<void> {
  const begun = performance.now();
  const plan = ["--out", path("demo"), "--shard-seconds", "3"];
  await cli(["corpus", "plan", join(demoModel, "clips", "clips.jsonl"), ...plan]);
  cpSync(path("demo"), path("demo-alone"), { recursive: true });
  await cli(["corpus", "work", path("demo-alone")]);
  const want = await mergedText(path("demo-alone"));
  let hits = 0;
  for (let kills = 0; kills < 4; kills++) {
    const worker = spawn(process.execPath, [binary, "corpus", "work", path("demo"), "--json"]);
    worker.stderr.resume();
    await Promise.race([once(worker.stdout, "data"), once(worker, "exit")]);
    await sleep(300 * random());
    if (worker.exitCode === null && worker.kill("SIGKILL")) hits++;
    await once(worker, "close");
  }
  await Promise.all([cli(["corpus", "work", path("demo")]), cli(["corpus", "work", path("demo")])]);
  await judge(
    "demo model",
    "demo",
    want,
    { workers: "1, then 2", faults: `${hits} kills`, whole: hits === 4 },
    begun,
  );
}

async function main(): Promise<void> {
  await planNames(path("alone"), names);
  for (const name of ["three", "claims", "queue"]) cpSync(path("alone"), path(name), { recursive: true });
  await workTogether({ path: path("alone"), way: "claims", itemMs: 1 }, 1);
  const want = await mergedText(path("alone"));
  const indexes = want
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { index: number }).index);
  if (indexes.some((index, i) => index !== i) || indexes.length !== names.length)
    throw new Error("one worker alone: an utterance is not there once");
  let begun = performance.now();
  await workTogether({ path: path("three"), way: "claims", itemMs: 1 }, 3);
  await judge("claim files, unharmed", "three", want, { workers: "3", faults: "none", whole: true }, begun);
  begun = performance.now();
  const crew = await killed({ path: path("claims"), way: "claims", leaseMs: 1500 }, new Map());
  const faults = `${crew.kills} kills, ${crew.freezes} times frozen for two leases`;
  const whole = crew.kills >= KILLS && crew.freezes > 0;
  await judge("claim files", "claims", want, { workers: "4, then 3", faults, whole }, begun);
  await queueRun(want);
  await demoRun();
  if (!hasRedis) return;
  writeFileSync(
    new URL("../bench/results/corpus-faults.json", import.meta.url),
    `${JSON.stringify({ utterances: names.length, outcomes }, undefined, 1)}\n`,
  );
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const isFine = outcomes.every(({ equal, whole }) => equal && whole);
process.exit(!isFine ? 1 : hasRedis ? 0 : process.env.CI === undefined ? 3 : 1);

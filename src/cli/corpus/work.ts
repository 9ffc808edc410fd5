import { Command, InvalidArgumentError } from "commander";
import { EngineProcess } from "../../corpus/engine/client.js";
import type { CorpusDirectory } from "../../corpus/directory.js";
import { Claims, LEASE_MS } from "../../corpus/workers/claims.js";
import type { Cost } from "../../corpus/workers/costs.js";
import { SOURCE_DEFAULTS, type ShardSource, type SourceOptions } from "../../corpus/workers/source.js";
import { Strides } from "../../corpus/workers/strides.js";
import { type WorkSummary, workCorpus, workerName } from "../../corpus/workers/worker.js";
import { count } from "../../report/text.js";
import { FunasrError } from "../../errors.js";
import { natural, number, positive, whole } from "../numbers.js";
import { exitCode, note, print, printJson, report, setOutput } from "../output.js";
import { stoppable } from "../signals.js";
import { directoryForm, findPlanned, openOwn } from "./directory.js";
import { type Place, placeOf } from "./place.js";

export interface WorkCliOptions {
  readonly shard?: number;
  readonly of?: number;
  readonly claims?: boolean;
  readonly queue?: string;
  readonly model?: string;
  readonly vad?: string;
  readonly lease: number;
  readonly attempts: number;
  readonly backoff: number;
  readonly width: number;
  readonly acceptMissing?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** BullMQ renews a lock after half its time, s. */
const REDIS_LOCK = 30;

/** Parses a URL of Redis for commander. */
export function redisUrl(text: string): string {
  if (URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError("Expected a URL such as redis://host:6379.");
}

export function workCommand(): Command {
  return new Command("work")
    .description("transcribe shards until none is left; any number of workers may run at once")
    .argument("<directory>", directoryForm)
    .option("--queue <url>", "take shards from BullMQ on Redis, such as redis://host:6379", redisUrl)
    .option("--claims", "take shards by claim files in the directory, in spite of a scheduler's variables")
    .option(
      "--shard <number>",
      "do this shard, from 0, and with --of those behind it; default: SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX, where one is set",
      whole(0),
    )
    .option(
      "--of <count>",
      "workers in all: this one does the shards K, K + COUNT, K + 2 COUNT …, where --shard is K",
      natural,
    )
    .option("--model <path>", "where the plan's model lies on this machine")
    .option("--vad <path>", "where the plan's voice activity net lies on this machine")
    .option(
      "--lease <seconds>",
      "a worker that is silent for so long loses its shard",
      number("seconds from 1", (value) => value >= 1),
      LEASE_MS / 1000,
    )
    .option("--attempts <count>", "tries of a shard before it is given up", natural, SOURCE_DEFAULTS.attempts)
    .option(
      "--backoff <seconds>",
      "pause before the second try; each more doubles it",
      positive,
      SOURCE_DEFAULTS.backoffMs / 1000,
    )
    .option("--width <count>", "utterances that are read and decoded at once", natural, 8)
    .option(
      "--accept-missing",
      "record all utterances of a shard as missing where even the directories of its audio are gone or empty; default: the worker ends, and another one takes the shard",
    )
    .option("--json", "a JSON object for each shard")
    .action(async (path: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<WorkCliOptions>();
      setOutput(options);
      const place = placeOf(options, process.env);
      if (typeof place === "string") command.error(`error: ${place}`, { exitCode: exitCode.wrongUsage });
      else await work(path, options, place);
    });
}

async function work(path: string, options: WorkCliOptions, place: Place | undefined): Promise<void> {
  const directory = await openOwn(path);
  const { model, vad, lora, options: settings } = directory.manifest;
  const engine = new EngineProcess({
    settings: {
      model: await findPlanned(model, options.model),
      vad: await findPlanned(vad, options.vad),
      lora: await Promise.all(lora.map((one) => findPlanned(one, undefined))),
      options: settings,
    },
    width: options.width,
    onNote: note,
    onWarning: (text) => note(`warning: ${text}`),
  });
  const worker = workerName();
  const shards = directory.shards.length;
  if (place && place.index >= shards)
    note(`${path}: no shard ${place.index}: there are ${count(shards)}, from 0; nothing is to be done`);
  const source = await sourceOf(directory, worker, options, place);
  try {
    const { result } = await stoppable(async (signal) => {
      await engine.start();
      note(`device: ${engine.device}`);
      return workCorpus({
        directory,
        source,
        engine,
        worker,
        signal,
        acceptMissing: options.acceptMissing,
        onNote: note,
        onShard: (cost) => reportShard(cost, options.json === true),
      });
    }, "stopping: the shard in work is given back; the same signal again ends the run at once");
    finish(result, options);
  } finally {
    await engine.stop();
  }
}

async function sourceOf(
  directory: CorpusDirectory,
  worker: string,
  { lease, attempts, backoff, queue: url }: WorkCliOptions,
  place: Place | undefined,
): Promise<ShardSource> {
  const options: SourceOptions = { directory, worker, attempts, backoffMs: backoff * 1000, onNote: note };
  if (place) return new Strides(options, place);
  if (url === undefined) return new Claims({ ...options, leaseMs: lease * 1000 });
  const { RedisQueue } = await import("../../corpus/workers/queue.js");
  return new RedisQueue({ ...options, url, lockMs: Math.min(lease, REDIS_LOCK) * 1000 });
}

function reportShard(cost: Cost, json: boolean): void {
  const { shard, outcome, audioSeconds, wallSeconds, error } = cost;
  if (json) printJson(cost);
  else if (outcome === "done")
    note(`shard ${shard}: ${audioSeconds.toFixed(0)} s of audio in ${wallSeconds.toFixed(0)} s`);
  else if (outcome === "failed") note(`shard ${shard} failed: ${error}`);
  else note(`shard ${shard}: ${outcome}`);
}

function finish({ shards, audioSeconds, gpuSeconds, failed }: WorkSummary, options: WorkCliOptions): void {
  for (const [shard, why] of failed)
    report(new FunasrError(`shard ${shard} was given up: ${why}; corpus retry tries it again`), false);
  if (options.json) return;
  const hours = (audioSeconds / 3600).toFixed(2);
  print(`${count(shards)} shards, ${hours} h of audio in ${gpuSeconds.toFixed(0)} s of the device`);
}

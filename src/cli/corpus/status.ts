import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { CorpusDirectory } from "../../corpus/directory.js";
import { type CorpusStatus, corpusStatus } from "../../corpus/status.js";
import { statusPage } from "../../corpus/status-page.js";
import { writeFileAtomic } from "../../node/files.js";
import { checkOutput } from "../../node/output-place.js";
import { count } from "../../report/text.js";
import { print, printJson, setOutput } from "../output.js";
import { directoryForm, filesOf } from "./directory.js";

interface StatusCliOptions {
  readonly watch?: boolean;
  readonly json?: boolean;
  readonly html?: string;
}

const WATCH_MS = 10_000;

export function statusCommand(): Command {
  return new Command("status")
    .description("print how far a corpus is: shards, hours, failures by kind, speed, time left")
    .argument("<directory>", directoryForm)
    .option("--watch", "print it every 10 s until all is done")
    .option("--html <file>", "also write it as a page")
    .option("--json", "a JSON object")
    .action(async (path: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<StatusCliOptions>();
      setOutput(options);
      for (;;) {
        const directory = await CorpusDirectory.open(path);
        const status = await corpusStatus(directory);
        if (options.html !== undefined) {
          await checkOutput(options.html, { inputs: await filesOf(directory, options.html) });
          await writeFileAtomic(options.html, [new TextEncoder().encode(statusPage(status, new Date()))]);
        }
        if (options.json) printJson(status);
        else print(statusText(status));
        if (!options.watch || status.shards.done === status.shards.all) return;
        await sleep(WATCH_MS);
      }
    });
}

function statusText({
  shards,
  hours,
  records,
  utterances,
  failures,
  costs,
  failed,
  ...rest
}: CorpusStatus): string {
  const share = hours.all === 0 ? 100 : (100 * hours.done) / hours.all;
  const lines = [
    `shards    ${count(shards.done)} of ${count(shards.all)} done, ${count(shards.held)} in work, ${count(shards.failed)} failed`,
    `hours     ${hours.done.toFixed(2)} of ${hours.all.toFixed(2)} (${share.toFixed(1)} %)`,
    `results   ${count(records)} for ${count(utterances)} utterances${failureText(failures)}`,
    `costs     ${costs.audioHours.toFixed(2)} h of audio, ${costs.gpuHours.toFixed(2)} h of devices, ${count(costs.retries)} retries, ${count(costs.workers)} workers`,
  ];
  if (rest.speed !== undefined) {
    const left = shards.done === shards.all ? "" : `; about ${duration(rest.secondsLeft!)} left`;
    lines.push(`speed     ${rest.speed.toFixed(1)} × real time${left}`);
  }
  if (costs.devices.length > 1) lines.push(`devices   ${costs.devices.join("; ")}`);
  for (const { shard, failures: times, why } of failed)
    lines.push(`shard ${shard} failed ${times} times: ${why}`);
  return lines.join("\n");
}

function failureText(failures: CorpusStatus["failures"]): string {
  const kinds = Object.entries(failures).sort(([a], [b]) => (a < b ? -1 : 1));
  return kinds.length === 0 ? "" : `; failed: ${kinds.map(([kind, n]) => `${count(n)} ${kind}`).join(", ")}`;
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

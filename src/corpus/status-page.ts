import { page, tableHtml } from "../report/html.js";
import { count } from "../report/text.js";
import { short } from "./directory.js";
import type { CorpusStatus } from "./status.js";

const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/** How far a corpus is, as an HTML page without other files. @param at  when it was looked at */
export function statusPage(status: CorpusStatus, at: Date): string {
  const { shards, hours, records, utterances, failures, costs, failed, speed, secondsLeft } = status;
  const share = hours.all === 0 ? 1 : hours.done / hours.all;
  const rows: [string, string][] = [
    ["shards done", `${count(shards.done)} of ${count(shards.all)}`],
    ["in work, failed", `${count(shards.held)}, ${count(shards.failed)}`],
    ["hours", `${hours.done.toFixed(2)} of ${hours.all.toFixed(2)} (${(100 * share).toFixed(1)} %)`],
    ["results", `${count(records)} for ${count(utterances)} utterances`],
    ["costs", `${costs.gpuHours.toFixed(2)} h of devices for ${costs.audioHours.toFixed(2)} h of audio`],
    ["retries, workers", `${count(costs.retries)}, ${count(costs.workers)}`],
  ];
  if (speed !== undefined) rows.push(["speed", `${speed.toFixed(1)} × real time`]);
  if (secondsLeft !== undefined && shards.done < shards.all)
    rows.push(["time left", `${(secondsLeft / 3600).toFixed(2)} h`]);
  const parts = [
    `<p class="note">plan ${short(status.id)}, ${at.toISOString()}</p>`,
    `<progress max="1" value="${share.toFixed(4)}" style="width:100%"></progress>`,
    tableHtml([["", ""], ...rows]),
  ];
  const kinds = Object.entries(failures).sort(([a], [b]) => (a < b ? -1 : 1));
  if (kinds.length > 0) {
    const lines = kinds.map(([kind, number]) => [kind, count(number)]);
    parts.push("<h2>Utterances without text</h2>", tableHtml([["kind", "utterances"], ...lines], [1]));
  }
  if (failed.length > 0) {
    const lines = failed.map(({ shard, failures: times, why }) => [String(shard), String(times), why]);
    parts.push("<h2>Shards that failed</h2>", tableHtml([["shard", "times", "why"], ...lines], [0, 1]));
  }
  const title = `Corpus: ${count(shards.done)} of ${count(shards.all)} shards`;
  return page({ title, body: parts.join("\n"), policy });
}

import type { MemorySample, Quantiles, ServeResults } from "./results.js";

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;
const table = (rows: readonly (readonly string[])[]): string =>
  [rows[0], rows[0].map(() => "---"), ...rows.slice(1)].map((row) => `| ${row.join(" | ")} |`).join("\n");

/** The first sample after a tenth of the requests, and the last one. */
function memoryCell(samples: readonly MemorySample[]): string {
  const last = samples.at(-1)!;
  const first = samples.find(({ requests }) => requests >= last.requests / 10)!;
  const parts = (["server", "engine", "gpu"] as const).map(
    (part) => `${part === "gpu" ? "GPU buffers" : part} ${megabytes(first[part])} → ${megabytes(last[part])}`,
  );
  return `after ${first.requests} and ${last.requests} requests: ${parts.join(", ")}; ${last.uploads} uploads left`;
}

function clientRows({ clients }: ServeResults): string[][] {
  const seconds = ({ p50, p95, p99 }: Quantiles): string => [p50, p95, p99].map(digits).join(" / ");
  const head = [
    "clients",
    "clips a second, min / median / max",
    "× real time",
    "answers: p50 / p95 / p99, s",
    "first streamed word: p50 / p95 / p99, s",
  ];
  const rows = clients.map(({ clients: count, clipsPerSecond, timesRealTime, ...times }) => {
    const { min, median, max } = clipsPerSecond;
    const rate = [min, median, max].map(digits).join(" / ");
    return [`${count}`, rate, digits(timesRealTime), seconds(times.seconds), seconds(times.firstWord)];
  });
  return [head, ...rows];
}

function aimRows({ clients, half, memory, answers, queue }: ServeResults): string[][] {
  const [one] = clients;
  const rates = clients.map(({ clipsPerSecond }) => clipsPerSecond.median);
  const best = Math.max(...rates);
  const gain = `${digits(best / rates[0])} × (${clients[rates.indexOf(best)].clients} clients)`;
  const ratio = half.seconds.p95 / one.seconds.p95;
  const atHalf = `${digits(half.perSecond)} requests a second at random moments`;
  const { places, mostOpen, answered, refused, other } = queue;
  return [
    ["what", "aim", "measured"],
    ["clips a second, at best against one client", "≥ 3 ×", gain],
    [
      `p95 at half of the best rate (${atHalf}) against one client`,
      "≤ 3 ×",
      `${digits(ratio)} × (${digits(half.seconds.p95)} s; first word ${digits(half.firstWord.p95)} s)`,
    ],
    ["memory when nothing runs", "flat", memoryCell(memory)],
    [
      `${queue.clients} clients of a server with ${places} places`,
      `≤ ${places} open, the others 429 with \`Retry-After\``,
      `${mostOpen} open at most; ${answered} answers, ${refused} refusals, ${other} of other kinds`,
    ],
    [
      "texts that differ from the clip's alone, and failures",
      "0",
      `${answers.different} and ${answers.failed} of ${answers.compared}`,
    ],
  ];
}

/** The tables of a file of `npm run bench:serve`, and a line on the run. */
export function serveTable(results: ServeResults, file?: string): string {
  const { rounds, seconds, clips, audioSeconds, load, cores, cpu, adapter, node, commit } = results;
  const about =
    `${file === undefined ? "One run" : `Of \`${file}\`: one run`} of \`npm run bench:serve\` with the demo model and its ${clips} clips (${digits(audioSeconds)} s in all), ` +
    `${rounds} rounds of ${digits(seconds)} s for each number of clients in turn, on ${adapter}, ${cores} cores of ${cpu} ` +
    `(load ${load.map((value) => value.toFixed(1)).join(" to ")}), node ${node}, commit ${commit}. Clients, server and engine share the cores.`;
  return [about, table(clientRows(results)), table(aimRows(results))].join("\n\n");
}

/**
 * Measures the cost of checkpoints, for one table: `npm run bench:outcome -- [--migration DIR]
 * [--sizes DIR] [--rounds N]`. Times one second of audio and counts memory with `evaluate
 * --second`, each checkpoint and weight format in a process of its own:
 * - the demo;
 * - the miniature's checkpoints in the migration's DIR (`npm run migration -- --work DIR`);
 * - DIR/migrated-SIZE and DIR/0.6B of golden/fullsize/prove_migrated.py and golden/fullsize/prove.py, with random
 *   weights.
 * Writes bench/results/outcome.json and keeps rows that were not measured again. `npm run
 * bench:table` makes the tables of docs/migration.md from it and from migration.json.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { FormatResult } from "../../src/evaluate/report.js";
import { variants } from "./variants.js";
import type { Outcome, OutcomeFormat, OutcomeRow } from "./outcome-table.js";
import { rounded } from "../../bench/peers/harness.js";
import { commitName, writeResult } from "../../bench/result.js";

const { values } = parseArgs({
  options: {
    migration: { type: "string" },
    sizes: { type: "string" },
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    weights: { type: "string" },
  },
});
const root = fileURLToPath(new URL("..", import.meta.url));
const file = join(root, "bench/results/outcome.json");

/** The clip whose middle second is measured. */
const clips = "models/demo/clips/clips.jsonl";

/**
 * Tokens that a model with random weights answers to one second: about as many as its words have.
 */
const randomTokens = 8;

interface System {
  readonly name: string;
  /** Directory, and its name in the command. */
  readonly model: string;
  readonly shown: string;
  readonly formats: readonly string[];
  readonly options: readonly string[];
}

function systems(): System[] {
  const found: System[] = [
    { name: "source", model: "models/demo", shown: "models/demo", formats: ["stored"], options: [] },
  ];
  const { migration, sizes } = values;
  if (migration) {
    const add = (name: string, path: string): unknown =>
      found.push({
        name,
        model: join(migration, path),
        shown: `DIR/${path}`,
        formats: ["stored"],
        options: [],
      });
    add("before", "migrated-2");
    for (const { name } of variants) add(name, `trained/${name}/checkpoint`);
  }
  if (sizes) {
    const options = ["--max-tokens", `${randomTokens}`];
    for (const name of ["0.6B", "1.7B", "4B", "8B"]) {
      const path = name === "0.6B" ? name : `migrated-${name}`;
      const formats = (values.weights ?? "bf16,q8,q4").split(",");
      found.push({ name, model: join(sizes, path), shown: `DIR/${path}`, formats, options });
    }
  }
  const wanted = values.only?.split(",");
  return found.filter(({ name, model }) => (wanted?.includes(name) ?? true) && existsSync(model));
}

function measure({ name, model, shown, options }: System, format: string): OutcomeFormat {
  const args = (path: string): string[] => [
    ...["evaluate", "--model", path, "--data", clips, "--limit", "1", "--second", values.rounds, ...options],
    ...(format === "stored" ? [] : ["--weights", format]),
  ];
  console.error(`${name} ${format}`);
  const load = rounded(loadavg()[0]);
  const out = execFileSync(process.execPath, ["bin/funasr-webgpu.js", ...args(model), "--json"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { measured } = JSON.parse(out) as FormatResult;
  const { firstToken, total, tokens } = measured.second!;
  return {
    format,
    command: args(shown).join(" "),
    load,
    firstTokenSeconds: rounded(firstToken.median),
    totalSeconds: rounded(total.median),
    p95Seconds: rounded(total.p95),
    tokens,
    weightBytes: measured.weightBytes,
    gpuPeakBytes: measured.gpuPeakBytes,
    residentPeakBytes: measured.residentPeakBytes,
    loadSeconds: rounded(measured.loadSeconds),
  };
}

const before: readonly OutcomeRow[] = existsSync(file)
  ? (JSON.parse(readFileSync(file, "utf8")) as Outcome).rows
  : [];
const rows = new Map<string, OutcomeRow>(before.map((row) => [row.name, row]));
for (const system of systems()) {
  for (const format of system.formats) {
    const one = measure(system, format);
    const others = rows.get(system.name)?.formats.filter((other) => other.format !== format) ?? [];
    rows.set(system.name, { name: system.name, commit: commitName(), formats: [...others, one] });
    writeResult("outcome", { rows: [...rows.values()] }, dirname(file));
  }
}

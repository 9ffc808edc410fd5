// Compiles every pipeline of the engine for GPUs that are not here, by Mesa's compilers for them, and compares
// registers, spills and instructions with bench/results/gpu-compilers.json: npm run check:gpus -- [CHIP ...]
// [--write]. It needs Linux on x86_64 with apt. Exit code 1 where a pipeline is refused or spills more than it did;
// 3 where the drivers cannot be had. docs/gpus.md explains the table.
import { spawnSync } from "node:child_process";
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Compiled, type Stats, StatsReader, columns } from "./gpus/stats.js";

interface Chip {
  readonly title: string;
  readonly driver: "radeon" | "nouveau";
  readonly shim: "amdgpu" | "nouveau";
  readonly environment: Readonly<Record<string, string>>;
}

const amd = (title: string, id: string): Chip => ({
  title,
  driver: "radeon",
  shim: "amdgpu",
  environment: { AMDGPU_GPU_ID: id, RADV_DEBUG: "shaderstats" },
});
const nvidia = (title: string, chipset: string): Chip => ({
  title,
  driver: "nouveau",
  shim: "nouveau",
  environment: { NOUVEAU_CHIPSET: chipset, NVK_I_WANT_A_BROKEN_VULKAN_DRIVER: "1", NAK_DEBUG: "print" },
});
const chips: Readonly<Record<string, Chip>> = {
  navi21: amd("Radeon RX 6800 (RDNA2)", "navi21"),
  navi31: amd("Radeon RX 7900 (RDNA3)", "navi31"),
  vega10: amd("Radeon RX Vega (GCN)", "vega10"),
  ga102: nvidia("GeForce RTX 30 (Ampere)", "172"),
};

type Row = readonly number[]; // in the order of `columns`
interface Table {
  readonly command: string;
  readonly mesa: string;
  readonly columns: readonly string[];
  readonly chips: Readonly<
    Record<
      string,
      { readonly title: string; readonly lanes: number; readonly pipelines: Record<string, Row> }
    >
  >;
}

const file = fileURLToPath(new URL("../bench/results/gpu-compilers.json", import.meta.url));
const drivers = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"),
  "funasr-webgpu",
  "gpu-compilers",
);

/** Compiles all pipelines for a chip, in a process of the drivers' own system libraries. */
async function compile(name: string): Promise<Compiled> {
  const { driver, shim, environment } = chips[name];
  const libraries = join(drivers, "root", "usr", "lib", "x86_64-linux-gnu");
  const icd = join(drivers, `${driver}.json`);
  const ICD = { api_version: "1.4.305", library_path: join(libraries, `libvulkan_${driver}.so`) };
  writeFileSync(icd, JSON.stringify({ file_format_version: "1.0.0", ICD }));
  const preload = join(libraries, `lib${shim}_noop_drm_shim.so`);
  const script = fileURLToPath(new URL("gpus/compile.ts", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "check-gpus-"));
  try {
    const log = join(folder, "log"); // a pipe of Node's does not block, and NVK ends where it is full
    const output = openSync(log, "w");
    const { status } = spawnSync(
      join(libraries, "ld-linux-x86-64.so.2"),
      ["--library-path", libraries, "--preload", preload, process.execPath, "--import", "tsx", script],
      {
        env: {
          ...process.env,
          ...environment,
          FUNASR_WEBGPU_ADAPTER: "",
          VK_DRIVER_FILES: icd,
          MESA_SHADER_CACHE_DISABLE: "1",
        },
        stdio: ["ignore", "ignore", output],
      },
    );
    closeSync(output);
    const reader = new StatsReader();
    const last: string[] = [];
    for await (const line of createInterface({ input: createReadStream(log) })) {
      reader.line(line);
      if (last.push(line) > 20) last.shift();
    }
    const compiled = reader.result();
    if (status !== 0 || compiled.pipelines.size === 0)
      throw new Error(
        `check-gpus: ${name}: expected pipelines, got exit code ${status}:\n${last.join("\n")}`,
      );
    return compiled;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const row = (stats: Stats): Row => columns.map((column) => stats[column]);

/** What is worse than in the table, one line each. */
function worse(chip: string, { pipelines, failed }: Compiled, table: Table | undefined): string[] {
  const lines = failed.map((text) => `${chip}: ${text}`);
  for (const [name, stats] of pipelines) {
    const known = table?.chips[chip]?.pipelines[name];
    for (const column of ["spilled", "scratch"] as const) {
      const before = known?.[columns.indexOf(column)] ?? 0;
      if (stats[column] > before) lines.push(`${chip}: ${name}: ${column} ${stats[column]}, not ${before}`);
    }
  }
  return lines;
}

/** Pipelines whose other numbers have changed. */
function changed(chip: string, { pipelines }: Compiled, table: Table | undefined): number {
  const known = table?.chips[chip]?.pipelines ?? {};
  return [...pipelines].filter(([name, stats]) => String(known[name]) !== String(row(stats))).length;
}

function summary(chip: string, { pipelines, lanes }: Compiled): string {
  const all = [...pipelines.values()];
  const most = Math.max(...all.map(({ registers }) => registers));
  const spill = all.filter(({ spilled, scratch }) => spilled > 0 || scratch > 0).length;
  return `${chip}  ${chips[chip].title}, ${lanes} lanes: ${all.length} pipelines, ${spill} spill or have scratch, at most ${most} registers`;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: "boolean", default: false } },
});
const asked = positionals.length > 0 ? positionals : Object.keys(chips);
const unknown = asked.find((chip) => !Object.hasOwn(chips, chip));
if (unknown !== undefined) {
  console.error(`check-gpus: expected ${Object.keys(chips).join(", ")}, got "${unknown}"`);
  process.exit(2);
}
if (!existsSync(join(drivers, "version"))) {
  const packages = fileURLToPath(new URL("gpus/packages.sh", import.meta.url));
  if (spawnSync(packages, [drivers], { stdio: ["ignore", 2, 2] }).status !== 0) process.exit(3);
}
const mesa = readFileSync(join(drivers, "version"), "utf8").trim();
const table = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Table) : undefined;
if (table && table.mesa !== mesa && !values.write)
  console.error(
    `check-gpus: the table is of Mesa ${table.mesa}, the drivers are ${mesa}: numbers may differ`,
  );
const written: Record<string, Table["chips"][string]> = { ...table?.chips };
const problems: string[] = [];
for (const chip of asked) {
  const compiled = await compile(chip);
  console.log(`${summary(chip, compiled)}; ${changed(chip, compiled, table)} changed`);
  problems.push(...worse(chip, compiled, table));
  const { title } = chips[chip];
  const pipelines = Object.fromEntries([...compiled.pipelines].map(([name, stats]) => [name, row(stats)]));
  written[chip] = { title, lanes: compiled.lanes, pipelines };
}
for (const line of problems) console.log(line);
if (values.write) {
  const text = JSON.stringify({ command: "npm run check:gpus -- --write", mesa, columns, chips: written });
  writeFileSync(file, `${text.replaceAll(/("[^"]+":\[)/g, "\n$1")}\n`);
}
process.exitCode = problems.length > 0 && !values.write ? 1 : 0;

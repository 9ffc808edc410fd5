import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { commitName, writeResult } from "../bench/result.js";
import { demoModel } from "../src/node/demo.js";
import { serve } from "../test/helpers/serve.js";

// usage: npm run check:clients -- DIR [--write]   (python3 with venv)
// Python clients of others against a real `serve` with the demo model: openai, funasr-client and
// funasr-python. Their environments are made in DIR where they are not there yet (pip installs
// them). Prints a row for each check. Exit code 1 if one fails.
// --write writes bench/results/clients.json.

/** funasr-client and funasr-python have a module of the same name, so each has an environment. */
const environments = [
  { name: "openai", packages: ["openai==3.57.0", "websockets==17.4"], script: "openai_check.py" },
  { name: "funasr-client", packages: ["funasr-client==0.1.6"], script: "funasr_client_check.py" },
  { name: "funasr-python", packages: ["funasr-python==0.1.5"], script: "funasr_python_check.py" },
] as const;

interface Row {
  readonly client: string;
  readonly check: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly detail: string;
}

const args = process.argv.slice(2);
const [directory] = args.filter((arg) => !arg.startsWith("--"));
if (!directory) throw new Error("check-clients: expected a directory for the Python environments");

/** @returns the Python with these packages */
function environment(name: string, packages: readonly string[]): string {
  const python = join(directory, name, "bin", "python");
  const run = (program: string, ...rest: string[]): void =>
    void execFileSync(program, rest, { stdio: ["ignore", 2, 2] });
  if (!existsSync(python)) run("python3", "-m", "venv", join(directory, name));
  run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...packages);
  return python;
}

function check(python: string, script: string, address: string): Row[] {
  const { stdout, stderr, status } = spawnSync(
    python,
    [join("scripts/clients", script), address, join(demoModel, "clips")],
    { encoding: "utf8", timeout: 900_000 },
  );
  const rows = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Row);
  if (status !== 0 && !rows.some(({ ok }) => !ok)) throw new Error(`${script}: ${status}: ${stderr}`);
  return rows;
}

const pythons = environments.map(({ name, packages, script }) => ({
  python: environment(name, packages),
  script,
}));
const serving = await serve();
const rows: Row[] = [];
try {
  for (const { python, script } of pythons) rows.push(...check(python, script, serving.address));
} finally {
  await serving.end();
}
console.log("| client | check | seconds | result |\n| --- | --- | --- | --- |");
for (const { client, check: what, ok, seconds, detail } of rows)
  console.log(`| ${client} | ${what} | ${seconds} | ${ok ? "ok" : "FAILED"} ${detail} |`);
const failed = rows.filter(({ ok }) => !ok).length;
console.log(`${rows.length - failed} of ${rows.length} checks hold`);
const python = execFileSync(pythons[0].python, ["--version"], { encoding: "utf8" }).trim();
const result = {
  command: "npm run check:clients",
  commit: commitName(),
  node: process.version,
  python,
  rows,
};
if (args.includes("--write")) console.log(writeResult("clients", result));
process.exitCode = failed > 0 ? 1 : 0;

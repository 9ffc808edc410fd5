import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { commitName, writeResult } from "../bench/result.js";
import { type ClientRow, type ClientsResults, clientsTable } from "../bench/serving/clients-table.js";
import { demoModel } from "../src/node/demo.js";
import { type CodeBlock, at, quickStarts } from "../test/helpers/quick-starts.js";
import { serve } from "../test/helpers/serve.js";

// usage: npm run check:clients -- DIR [--write]   (python3 with venv)
// Python clients of others against a real `serve` with the demo model: openai, funasr-client and
// funasr-python; and the Python code that stands in docs/serving.md. Their environments are made in
// DIR where they are not there yet (pip installs them). Prints a row for each check. Exit code 1 if
// one fails. --write writes bench/results/clients.json, of which `npm run bench:table` makes the
// table of docs/serving.md.

/** funasr-client and funasr-python have a module of the same name, so each has an environment. */
const environments = [
  { name: "openai", packages: ["openai==3.57.0", "websockets==17.4"], script: "openai_check.py" },
  { name: "funasr-client", packages: ["funasr-client==0.1.6"], script: "funasr_client_check.py" },
  { name: "funasr-python", packages: ["funasr-python==0.1.5"], script: "funasr_python_check.py" },
] as const;

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

function check(python: string, script: string, address: string): ClientRow[] {
  const { stdout, stderr, status } = spawnSync(
    python,
    [join("scripts/clients", script), address, join(demoModel, "clips")],
    { encoding: "utf8", timeout: 900_000 },
  );
  const rows = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as ClientRow);
  if (status !== 0 && !rows.some(({ ok }) => !ok)) throw new Error(`${script}: ${status}: ${stderr}`);
  return rows;
}

/** Runs code of the page with the environment that has its module. */
function quickStart(block: CodeBlock, address: string, before: readonly ClientRow[]): ClientRow {
  const [, module] = /^from (\w+) import /m.exec(block.code)!;
  const { name, python } = pythons.find((one) => one.name.replace("-", "_") === module)!;
  const begun = performance.now();
  const { stdout, stderr } = spawnSync(python, ["-c", at(address, block)], {
    encoding: "utf8",
    timeout: 300_000,
  });
  const ok = stdout === "set the oven to eighty two degrees\n";
  const seconds = Math.round(performance.now() - begun) / 1000;
  return {
    client: before.find(({ client }) => client.startsWith(`${name} `))!.client,
    check: "the quick start of docs/serving.md",
    ok,
    seconds,
    detail: ok ? "" : stdout + stderr,
  };
}

const pythons = environments.map(({ name, packages, script }) => ({
  name,
  python: environment(name, packages),
  script,
}));
const blocks = quickStarts().filter(({ language }) => language === "python");
const serving = await serve();
const rows: ClientRow[] = [];
try {
  for (const { python, script } of pythons) rows.push(...check(python, script, serving.address));
  for (const block of blocks) rows.push(quickStart(block, serving.address, rows));
} finally {
  await serving.end();
}
const results: ClientsResults = {
  command: "npm run check:clients",
  commit: commitName(),
  node: process.version,
  python: execFileSync(pythons[0].python, ["--version"], { encoding: "utf8" }).trim(),
  rows,
};
console.log(clientsTable(results));
if (args.includes("--write")) console.log(writeResult("clients", results));
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;

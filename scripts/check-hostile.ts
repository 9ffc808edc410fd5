import { spawn } from "node:child_process";
import {
  closeSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { demo, makeModel, modelRows, outputRows } from "./hostile-rows.js";
import type { Command, ModelRow } from "./hostile-rows.js";

// usage: npm run check:hostile [-- DIR]   (after npm run build)
// Puts hostile files, one at a time, into a copy of a model and runs commands on it. Then writes to
// places that cannot be written. Prints a row for each command. Exit code 1 if one breaks a bound:
// - 5 s and 500 MB above the size of the directory (if it succeeds, above the command's cost for
// the unchanged model). Beyond 5 s of wall clock the user CPU time counts, because the machine may
// be busy;
// - exit code 0, 1 or 2;
// - one line on stderr besides notes.
// DIR adds files NAME.tokenizer.json, NAME.jinja ...; HOSTILE=PATTERN keeps the rows that it
// matches.

const seconds = 5;
const megabytes = 500;
/** After this time a command is ended, and its row counts as broken. */
const patience = 60_000;
const clip = `${demo}/clips/en-seen-1.wav`;
/** Lines on stderr that are not errors. */
const notes =
  /^(note: |Warning: maxDynamic|device: |loaded in |\d+ tokens|the model gave no text|.*a repeating cycle was cut)/;

interface Result {
  /** Exit code, or the signal that ended it. */
  readonly exit: string;
  readonly wall: number;
  readonly cpu: number;
  readonly peak: number;
  readonly lines: readonly string[];
}

/** Runs the command line under GNU time. */
async function measure(args: readonly string[], stdout = "/dev/null"): Promise<Result> {
  const out = openSync(stdout, "w");
  const began = performance.now();
  const whole = ["-f", "TIME %M %U", process.execPath, "bin/funasr-webgpu.js", ...args];
  const child = spawn("/usr/bin/time", whole, { stdio: ["ignore", out, "pipe"], detached: true });
  const pieces: Buffer[] = [];
  child.stderr!.on("data", (piece: Buffer) => pieces.push(piece));
  const timer = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), patience);
  const exit = await new Promise<string>((resolve) =>
    child.on("close", (code, signal) => resolve(String(code ?? signal))),
  );
  clearTimeout(timer);
  closeSync(out);
  const stderr = Buffer.concat(pieces).toString();
  const [, peak, cpu] = /^TIME (\d+) ([\d.]+)$/m.exec(stderr) ?? [];
  const lines = stderr.split("\n").filter((line) => line !== "" && !/^(TIME|Command exited)/.test(line));
  return {
    exit,
    wall: (performance.now() - began) / 1000,
    cpu: Number(cpu),
    peak: Number(peak) / 1024,
    lines: lines.filter((line) => !notes.test(line)),
  };
}

let broken = 0;

/**
 * Prints a row.
 * @param need  time and memory that the command may take beside the bounds
 */
function report(kind: string, command: string, result: Result, need: Need): void {
  const { exit, wall, cpu, peak, lines } = result;
  const faults = [
    !["0", "1", "2"].includes(exit) && "exit",
    !(wall <= need.wall + seconds || cpu <= need.cpu + seconds) && "time",
    !(peak <= need.peak + megabytes) && "memory",
    !(exit === "0" ? lines.length <= 1 : lines.length === 1) && `${lines.length} lines`,
    lines.some((line) => line.length > 1000 || /\p{Cc}/u.test(line)) && "text",
  ].filter((fault) => fault !== false);
  if (faults.length > 0) broken++;
  const mark = faults.length > 0 ? `BROKEN (${faults.join(", ")}) ` : "";
  const cells = [kind, command, wall.toFixed(1), cpu.toFixed(1), peak.toFixed(0), exit];
  console.log(
    `| ${cells.join(" | ")} | ${mark}${(lines.at(-1) ?? "").slice(0, 160).replaceAll("|", "\\|")} |`,
  );
}

interface Need {
  readonly wall: number;
  readonly cpu: number;
  readonly peak: number;
}

const root = mkdtempSync(join(tmpdir(), "hostile-"));
const model = join(root, "model");
const commands: Readonly<Record<Command, readonly string[]>> = {
  transcribe: ["transcribe", "--model", model, clip],
  inspect: ["inspect", model],
  generate: ["generate", "--model", model, "hi"],
  convert: ["convert", model, join(root, "out")],
};
/** Cost of a command on an unchanged base: its first row. */
const plain = new Map<string, Need>();

/** MB of the model's files on the disk. Holes take none. */
function size(): number {
  const names = readdirSync(model, { recursive: true, encoding: "utf8" });
  return names.reduce((sum, name) => sum + lstatSync(join(model, name)).blocks * 512, 0) / 2 ** 20;
}

async function checkModel(row: ModelRow): Promise<void> {
  makeModel(row, model);
  for (const command of row.commands) {
    rmSync(join(root, "out"), { recursive: true, force: true });
    const result = await measure(commands[command]);
    const key = `${row.base} ${command}`;
    const { exit, wall, cpu, peak } = result;
    if (exit === "0" && !plain.has(key)) plain.set(key, { wall, cpu, peak });
    const refused = { wall: 0, cpu: 0, peak: size() };
    report(row.kind, command, result, exit === "0" ? plain.get(key)! : refused);
  }
}

/** The row of a file NAME.tokenizer.json or NAME.jinja. */
function fileRow(path: string): ModelRow[] {
  const names: Record<string, string> = { ".jinja": "chat_template.jinja", ".json": "tokenizer.json" };
  const found = Object.entries(names).find(([end]) => path.endsWith(end));
  if (!found) return [];
  const put = (directory: string): void => writeFileSync(join(directory, found[1]), readFileSync(path));
  return [{ kind: basename(path), base: "demo", commands: ["transcribe", "generate"], put }];
}

const wanted = ({ kind }: { readonly kind: string }): boolean =>
  new RegExp(process.env["HOSTILE"] ?? "").test(kind) || /own$/.test(kind);
const files = process.argv.slice(2).flatMap((dir) => readdirSync(dir).map((name) => join(dir, name)));
console.log("| what | command | s | user CPU s | peak MB | exit | line |");
console.log("| --- | --- | ---: | ---: | ---: | ---: | --- |");
try {
  for (const row of [...modelRows, ...files.flatMap(fileRow)].filter(wanted)) await checkModel(row);
  for (const row of outputRows.filter(wanted)) {
    const need = { wall: 5, cpu: 5, peak: 500 }; // the work before the output is written
    report(row.kind, row.args[0], await measure(row.args, row.stdout), need);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
if (broken > 0) console.error(`${broken} commands exceed a bound`);
process.exitCode = broken > 0 ? 1 : 0;

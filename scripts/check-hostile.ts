import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

// usage: npm run check:hostile [-- DIR]   (after npm run build)
// Puts hostile files, one at a time, into a copy of models/demo and runs commands on it. Prints a table; exit code 1 if a command breaks a
// bound: 5 s, 500 MB above the size of the directory and the command's own need, one line. DIR adds files NAME.tokenizer.json, NAME.jinja ...

const seconds = 5;
const megabytes = 500;
const demo = "models/demo";
const clip = `${demo}/clips/en-seen-1.wav`;
const tokenizer = JSON.parse(readFileSync(`${demo}/tokenizer.json`, "utf8")) as { model: object };

function tokenizerWith(fields: object): string {
  return JSON.stringify({ ...tokenizer, ...fields });
}

function safetensors(count: number): Buffer {
  const entry = { dtype: "F32", shape: [0], data_offsets: [0, 0] };
  const entries = Array.from({ length: count }, (_, i) => [`t${i}`, entry] as const);
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header]);
}

const doubled = `{%- set x = ["ab"] -%}${"{%- set x = [x,x] -%}".repeat(24)}`;
const replace = { type: "Replace", pattern: { Regex: "[\\s\\S]" }, content: "$&$&" };
const longText = `{%- set t = "a" -%}${"{%- set t = t + t -%}".repeat(19)}`;
const backtracks = { type: "Replace", pattern: { Regex: "(a+)+b|((?:\\s|\\S)+)+\\u0000" }, content: "" };
const index = (count: number, shard: string): string => {
  const names = Array.from(
    { length: count },
    (_, i) => [`t${i}`, count > 1 ? `${shard}${i}` : shard] as const,
  );
  return JSON.stringify({ weight_map: Object.fromEntries(names) });
};
const split = { type: "Split", pattern: { Regex: "((?:\\s|\\S)+)+\\u0000|." }, behavior: "Isolated" };

/** Kind, name of the file, its content. */
const kinds: [string, string, () => string | Buffer][] = [
  ["none (the demo as it is)", "chat_template.jinja", () => readFileSync(`${demo}/chat_template.jinja`)],
  ["template: lists shared, tojson", "chat_template.jinja", () => `${doubled}{{ x | tojson }}`],
  ["template: lists shared, ~", "chat_template.jinja", () => `${doubled}{{ x ~ "" }}`],
  ["template: 60,000 spaces", "chat_template.jinja", () => `{{ "a" }}${" ".repeat(60_000)}{{ "b" }}`],
  ["tokenizer: Split backtracks", "tokenizer.json", () => tokenizerWith({ pre_tokenizer: split })],
  [
    "tokenizer: 40 steps double",
    "tokenizer.json",
    () => tokenizerWith({ normalizer: { type: "Sequence", normalizers: Array(40).fill(replace) } }),
  ],
  [
    "tokenizer: 3,000,000 merges",
    "tokenizer.json",
    () => tokenizerWith({ model: { ...tokenizer.model, merges: Array(3_000_000).fill("a b") } }),
  ],
  ["tokenizer: Replace backtracks", "tokenizer.json", () => tokenizerWith({ normalizer: backtracks })],
  [
    "tokenizer: added tokens, 16 MB",
    "tokenizer.json",
    () =>
      tokenizerWith({
        added_tokens: Array.from({ length: 16_000 }, (_, i) => ({
          id: i,
          content: `${i}${"a".repeat(1000)}`,
        })),
      }),
  ],
  ["template: 1 MB of a letter", "chat_template.jinja", () => `${longText}{{ t }}`],
  ["template: a deep expression", "chat_template.jinja", () => `{{ ${"(".repeat(60_000)}`],
  ["index: a shard in another directory", "model.safetensors.index.json", () => index(1, "../x")],
  [
    "index: the index as its shard",
    "model.safetensors.index.json",
    () => index(1, "model.safetensors.index.json"),
  ],
  ["index: 300,000 shards", "model.safetensors.index.json", () => index(300_000, "s")],
  ["config.json: deep", "config.json", () => `{"a":${"[".repeat(1_000_000)}`],
  ["config.json: 3,000,000 values", "config.json", () => `{"a":[${"{},".repeat(3_000_000)}0]}`],
  ["safetensors: 1,500,000 tensors", "model.safetensors", () => safetensors(1_500_000)],
];

function kindOf(path: string): [string, string, () => Buffer] | undefined {
  const names: Record<string, string> = { ".jinja": "chat_template.jinja", ".json": "tokenizer.json" };
  const found = Object.entries(names).find(([end]) => path.endsWith(end));
  return found && [basename(path), found[1], () => readFileSync(path)];
}

const root = mkdtempSync(join(tmpdir(), "hostile-"));
const model = join(root, "model");
const commands: Record<string, string[]> = {
  transcribe: ["transcribe", "--model", model, clip],
  inspect: ["inspect", model],
  generate: ["generate", "--model", model, "hi"],
  convert: ["convert", model, join(root, "out")],
};
/** What each command takes for the demo as it is. */
const plain: Record<string, { readonly took: number; readonly peak: number }> = {};
let broken = 0;

function run(kind: string, command: string): void {
  const began = performance.now();
  const args = ["-f", "TIME %M", process.execPath, "bin/funasr-webgpu.js", ...commands[command]];
  const { status, signal, stderr } = spawnSync("/usr/bin/time", args, { encoding: "utf8", timeout: 60_000 });
  const took = (performance.now() - began) / 1000;
  const peak = Number(/TIME (\d+)/.exec(stderr)?.[1] ?? NaN) / 1024;
  const lines = stderr.split("\n").filter((line) => line !== "" && !/^(TIME|Command exited)/.test(line));
  const size = readdirSync(model, { recursive: true, encoding: "utf8" });
  const own = size.reduce((sum, name) => sum + statSync(join(model, name)).size, 0) / 2 ** 20;
  if (status === 0) plain[command] ??= { took, peak }; // the first row is the demo as it is
  const need = status === 0 ? plain[command] : { took: 0, peak: own };
  const good = (status === 0 || status === 1) && took <= need.took + seconds && peak <= need.peak + megabytes;
  if (!good) broken++;
  const cells = [kind, command, took.toFixed(1), peak.toFixed(0), String(status ?? signal)];
  console.log(`| ${cells.join(" | ")} | ${good ? "" : "BROKEN "}${(lines.at(-1) ?? "").slice(0, 110)} |`);
}

const files = process.argv.slice(2).flatMap((dir) => readdirSync(dir).map((name) => join(dir, name)));
console.log("| file kind | command | s | peak MB | exit | line |\n| --- | --- | ---: | ---: | ---: | --- |");
try {
  for (const [kind, name, content] of [...kinds, ...files.flatMap((path) => [kindOf(path)])].filter(
    (each) => each !== undefined,
  )) {
    rmSync(model, { recursive: true, force: true });
    rmSync(join(root, "out"), { recursive: true, force: true });
    cpSync(demo, model, { recursive: true });
    writeFileSync(join(model, name), content());
    for (const command of Object.keys(commands)) run(kind, command);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
if (broken > 0) console.error(`${broken} of the commands broke a bound`);
process.exitCode = broken > 0 ? 1 : 0;

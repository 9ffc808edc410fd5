import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ggufs, pickles, safetensors, safetensorsOf, torchOf, zips } from "./hostile-bytes.js";

// The rows of check-hostile.ts: model directories with one hostile file each, and outputs that
// cannot be written.

export const demo = "models/demo";
const fixtures = "test/fixtures";

/** Directories that a hostile file is put into. */
export const bases = { demo, funasr: `${fixtures}/funasr/nano`, gguf: `${fixtures}/gguf/pair` } as const;

/** Commands that a row runs on its directory; check-hostile.ts has their arguments. */
export type Command = "transcribe" | "inspect" | "generate" | "convert";

export interface ModelRow {
  readonly kind: string;
  readonly base: keyof typeof bases;
  readonly commands: readonly Command[];
  /** Puts the hostile file into a copy of the base. */
  readonly put: (directory: string) => void;
}

const all = ["transcribe", "inspect", "generate", "convert"] as const;
const two = ["inspect", "transcribe"] as const;
const tokenizer = JSON.parse(readFileSync(`${demo}/tokenizer.json`, "utf8")) as { model: object };

function tokenizerWith(fields: object): string {
  return JSON.stringify({ ...tokenizer, ...fields });
}

type Content = () => string | Uint8Array;

/** Rows of the demo with a file in place of its own. */
function demoRows(file: string, contents: readonly (readonly [string, Content])[]): ModelRow[] {
  return contents.map(([what, content]) => ({
    kind: `${file}: ${what}`,
    base: "demo",
    commands: all,
    put: (directory) => writeFileSync(join(directory, file), content()),
  }));
}

const doubled = `{%- set x = ["ab"] -%}${"{%- set x = [x,x] -%}".repeat(24)}`;
const longText = `{%- set t = "a" -%}${"{%- set t = t + t -%}".repeat(19)}`;

const templates = demoRows("chat_template.jinja", [
  ["the demo's own", () => readFileSync(`${demo}/chat_template.jinja`)],
  ["lists shared, tojson", () => `${doubled}{{ x | tojson }}`],
  ["lists shared, ~", () => `${doubled}{{ x ~ "" }}`],
  ["60,000 spaces", () => `{{ "a" }}${" ".repeat(60_000)}{{ "b" }}`],
  ["1 MB of a letter", () => `${longText}{{ t }}`],
  ["a deep expression", () => `{{ ${"(".repeat(60_000)}`],
]);

const replace = { type: "Replace", pattern: { Regex: "[\\s\\S]" }, content: "$&$&" };
const backtracks = { type: "Replace", pattern: { Regex: "(a+)+b|((?:\\s|\\S)+)+\\u0000" }, content: "" };
const split = { type: "Split", pattern: { Regex: "((?:\\s|\\S)+)+\\u0000|." }, behavior: "Isolated" };
/** As many normalisers and pre-tokenisers as are taken, each with a pattern of `count` characters that no other one has. */
function manyPatterns(count: number, write: (characters: readonly string[]) => string): string {
  const patterns = Array.from({ length: 14 }, (_, at) => {
    const characters = Array.from({ length: count }, (__, i) => String.fromCharCode(0x4e00 + at * count + i));
    return { Regex: `${write(characters)}|z` };
  });
  const normalizers = patterns.slice(0, 7).map((pattern) => ({ type: "Replace", pattern, content: "" }));
  const pretokenizers = patterns
    .slice(7)
    .map((pattern) => ({ type: "Split", pattern, behavior: "Isolated" }));
  return tokenizerWith({
    normalizer: { type: "Sequence", normalizers },
    pre_tokenizer: { type: "Sequence", pretokenizers },
  });
}

const longTokens = Array.from({ length: 16_000 }, (_, id) => ({ id, content: `${id}${"a".repeat(1000)}` }));

const tokenizers = demoRows("tokenizer.json", [
  ["Split backtracks", () => tokenizerWith({ pre_tokenizer: split })],
  [
    "40 steps double",
    () => tokenizerWith({ normalizer: { type: "Sequence", normalizers: Array(40).fill(replace) } }),
  ],
  [
    "3,000,000 merges",
    () => tokenizerWith({ model: { ...tokenizer.model, merges: Array(3_000_000).fill("a b") } }),
  ],
  ["Replace backtracks", () => tokenizerWith({ normalizer: backtracks })],
  ["14 patterns of 1,000 characters", () => manyPatterns(1000, (all) => all.join(""))],
  ["14 patterns of 250 sets", () => manyPatterns(250, (all) => all.map((one) => `[${one}]`).join("|"))],
  ["added tokens, 16 MB", () => tokenizerWith({ added_tokens: longTokens })],
]);

const deepJson = (): string => `{"a":${"[".repeat(1_000_000)}`;
const manyValues = (): string => `{"a":[${"{},".repeat(3_000_000)}0]}`;
const jsons = [
  "config.json",
  "generation_config.json",
  "processor_config.json",
  "tokenizer_config.json",
].flatMap((file) =>
  demoRows(file, [
    ["deep", deepJson],
    ["3,000,000 values", manyValues],
  ]),
);

/** Files of the demo with an extreme number: of layers, widths, samples, tokens. */
const extremes: [file: string, name: string, value: number][] = [
  ["config.json", "num_hidden_layers", 2 ** 31],
  ["config.json", "vocab_size", 2 ** 40],
  ["config.json", "max_position_embeddings", 2 ** 52],
  ["config.json", "fsmn_kernel_size", 2 ** 31 + 1],
  ["config.json", "num_stacked_frames", 2 ** 28],
  ["config.json", "num_attention_heads", 2 ** 31],
  ["config.json", "head_dim", 2 ** 31],
  ["config.json", "rope_theta", 1e-300],
  ["processor_config.json", "feature_size", 2 ** 28],
  ["processor_config.json", "frame_length", 1e9],
  ["processor_config.json", "frame_shift", 1e-9],
  ["processor_config.json", "num_frames_lfr", 2 ** 30],
  ["processor_config.json", "sampling_rate", 1e12],
  ["generation_config.json", "max_new_tokens", 2 ** 50],
];
const extremeRows = extremes.flatMap(([file, name, value]) => {
  const own = (): string => readFileSync(`${demo}/${file}`, "utf8");
  const number = new RegExp(`("${name}": )[\\d.]+`, "g");
  return demoRows(file, [[`${name} ${value}`, () => own().replace(number, `$1${value}`)]]);
});

/** Rows of an index, which is read where no model.safetensors is. */
function indexRow(what: string, content: () => string): ModelRow {
  return {
    kind: `model.safetensors.index.json: ${what}`,
    base: "demo",
    commands: all,
    put(directory) {
      rmSync(join(directory, "model.safetensors"));
      writeFileSync(join(directory, "model.safetensors.index.json"), content());
    },
  };
}

const index = (shards: readonly string[]): string =>
  JSON.stringify({ weight_map: Object.fromEntries(shards.map((shard, i) => [`t${i}`, shard])) });

const weights = [
  ...demoRows("model.safetensors", [
    ["1,500,000 tensors", () => safetensors(1_500_000)],
    ["a tensor's name of 90 MB", () => safetensorsOf(`{"${"a".repeat(90_000_000)}":0}`)],
    ["deep", () => safetensorsOf(`{"a":${"[".repeat(90_000_000)}`)],
  ]),
  indexRow("a shard in another directory", () => index(["../x"])),
  indexRow("the index as its shard", () => index(["model.safetensors.index.json"])),
  indexRow("300,000 shards", () => index(Array.from({ length: 300_000 }, (_, i) => `s${i}`))),
  indexRow("deep", deepJson),
];

/** Texts of `length` characters whose parser may take their square. */
const yamls: [string, string][] = [
  ["a flow map of 200,000 characters", `k: {${"a,".repeat(100_000)}a}`],
  ["a flow map", `k: {${"a,".repeat(31_990)}a}`],
  ["a flow map of explicit keys", `k: {${"? a,".repeat(15_990)}a}`],
  ["deep brackets", "[".repeat(64_000)],
  ["deep braces", `k: ${"{a: ".repeat(15_990)}`],
  ["deep blocks", Array.from({ length: 350 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")],
  ["deep keys", "? ".repeat(32_000)],
  ["deep items", `${"- ".repeat(31_990)}1`],
  [
    "aliases of aliases",
    Array.from({ length: 60 }, (_, i) => `a${i}: &a${i} [${i ? `*a${i - 1}, *a${i - 1}` : 1}]`).join("\n"),
  ],
  [
    "merges of a large map",
    `a: &a {${Array.from({ length: 8000 }, (_, i) => `k${i}`).join(",")}}\n${Array.from({ length: 99 }, (_, i) => `b${i}: {<<: *a}`).join("\n")}`,
  ],
  ["anchors", Array.from({ length: 4000 }, (_, i) => `a${i}: &b${i} 1`).join("\n")],
  ["documents", "---\n".repeat(15_990)],
  ["comments", "#\n".repeat(31_990)],
  ["directives", `${"%A\n".repeat(21_000)}--- 1`],
  ["tags", `k: [${"!!python/a 1,".repeat(4900)}1]`],
  ["one text of many lines", `k: "${"a\n".repeat(31_000)}"`],
  ["one text of empty lines", `k: a\n${"\n".repeat(63_000)} b`],
  ["a block text of spaces", `k: |\n${" ".repeat(63_000)}a`],
  ["a text that is not closed", `k: '${"''".repeat(31_000)}`],
  ["colons", `k: ${"a:".repeat(31_000)}`],
  ["errors on each line", "a: b: c\n".repeat(7_990)],
  ["tabs", "\t".repeat(63_000)],
];

const yamlRows = yamls.map(([what, text]): ModelRow => {
  const put = (directory: string): void => writeFileSync(join(directory, "config.yaml"), text);
  return { kind: `config.yaml: ${what}`, base: "funasr", commands: ["inspect"], put };
});

const torchRows = [
  ["own", () => readFileSync(`${bases.funasr}/model.pt`)] as const,
  ...pickles.map(([what, bytes]) => [`pickle, ${what}`, () => torchOf(bytes())] as const),
  ...zips.map(([what, bytes]) => [`zip, ${what}`, bytes] as const),
].map(([what, bytes]): ModelRow => {
  const put = (directory: string): void => writeFileSync(join(directory, "model.pt"), bytes());
  return { kind: `model.pt: ${what}`, base: "funasr", commands: what === "own" ? two : ["inspect"], put };
});

const ggufRows = [["own", () => readFileSync(`${bases.gguf}/qwen3-tiny-bf16.gguf`)] as const, ...ggufs].map(
  ([what, bytes]): ModelRow => {
    const put = (directory: string): void => writeFileSync(join(directory, "qwen3-tiny-bf16.gguf"), bytes());
    return { kind: `GGUF: ${what}`, base: "gguf", commands: ["inspect", "convert"], put };
  },
);

function holes(path: string): void {
  writeFileSync(path, "");
  truncateSync(path, 2 ** 40);
}

/** Other things than files, in place of each file that is read. */
const places = ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"];
const things: [string, (path: string) => void][] = [
  ["a FIFO", (path) => execFileSync("mkfifo", [path])],
  ["a link to itself", (path) => symlinkSync(path, path)],
  ["a link to /dev/zero", (path) => symlinkSync("/dev/zero", path)],
  ["a directory", (path) => mkdirSync(path)],
  ["1 TB of holes", holes],
];
const thingRows = places.flatMap((file) =>
  things.map(([what, make]): ModelRow => ({
    kind: `${file}: ${what}`,
    base: "demo",
    commands: two,
    put(directory) {
      rmSync(join(directory, file));
      make(join(directory, file));
    },
  })),
);

export const modelRows: readonly ModelRow[] = [
  ...templates,
  ...tokenizers,
  ...jsons,
  ...extremeRows,
  ...weights,
  ...yamlRows,
  ...torchRows,
  ...ggufRows,
  ...thingRows,
];

/** Puts a copy of a base, changed by the row, in the place of `directory`. */
export function makeModel({ base, put }: ModelRow, directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  cpSync(bases[base], directory, { recursive: true });
  put(directory);
}

/** An output that cannot be written, and the command's arguments. */
export interface OutputRow {
  readonly kind: string;
  readonly args: readonly string[];
  /** A file for stdout. */
  readonly stdout?: string;
}

const clips = `${demo}/clips/clips.jsonl`;
const training = ["train", "--model", demo, "--data", clips, "--steps", "1", "--out"];
const evaluation = ["evaluate", "--data", clips, "--limit", "1", "--out"];
const migration = ["migrate", "--encoder", demo, "--llm", demo, "--out"];
const transcription = ["transcribe", `${demo}/clips/en-seen-1.wav`];

export const outputRows: readonly OutputRow[] = [
  ...["/proc/x", "/sys/x", "/dev/full", "/dev/null/x", "/proc/self/x"].flatMap((out): OutputRow[] => [
    { kind: `convert, ${out}`, args: ["convert", demo, out] },
    { kind: `data --out ${out}`, args: ["data", "jsonl", clips, "--out", out] },
    { kind: `train --out ${out}`, args: [...training, out] },
    { kind: `evaluate --out ${out}`, args: [...evaluation, out] },
    { kind: `migrate --out ${out}`, args: [...migration, out] },
  ]),
  { kind: "transcribe > /dev/full", args: transcription, stdout: "/dev/full" },
  { kind: "transcribe --json > /dev/full", args: [...transcription, "--json"], stdout: "/dev/full" },
  { kind: "inspect > /dev/full", args: ["inspect"], stdout: "/dev/full" },
  { kind: "data --out - > /dev/full", args: ["data", "jsonl", clips, "--out", "-"], stdout: "/dev/full" },
];

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { decodeClip } from "../../src/node/clip.js";
import { type Run, replaceTable } from "./table.js";

// npm run round-trip -- --python VENV/bin/python [--steps 60] [--keep DIR]
// The demo's encoder behind an untrained adaptor goes to FunASR's trainer, and comes back: see
// docs/fine-tuning-at-scale.md, whose table this writes.

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({
  options: {
    python: { type: "string" },
    steps: { type: "string", default: "60" },
    keep: { type: "string" },
  },
});
const { python } = values;
if (python === undefined) throw new Error("--python PATH: name the Python of golden/requirements.txt");
const steps = Number(values.steps);
const work = values.keep === undefined ? mkdtempSync(join(tmpdir(), "round-trip-")) : resolve(values.keep);
const at = (...parts: readonly string[]): string => join(work, ...parts);

function command(program: string, args: readonly string[]): string {
  console.error([program === process.execPath ? "node" : "python", ...args].join(" "));
  return execFileSync(program, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

const cli = (...args: readonly string[]): string =>
  command(process.execPath, ["bin/funasr-webgpu.js", ...args]);

interface Clip {
  readonly audio: string;
  readonly text: string;
  readonly language: "en" | "zh";
}

/** 16-bit WAV files of the demo's clips, which every build of FunASR reads, and the JSONL of its trainer. */
async function makeData(): Promise<number> {
  const clips = readFileSync("models/demo/clips/clips.jsonl", "utf8").trim().split("\n");
  const lines: string[] = [];
  for (const [i, line] of clips.entries()) {
    const { audio, text, language } = JSON.parse(line) as Clip;
    const { channels } = await decodeClip(join("models/demo/clips", audio), { keep: { rate: 16_000 } });
    const [samples] = channels; // the mean of all
    const wav = at(`${i}.wav`);
    writeFileSync(wav, wavBytes(samples));
    const prompt = language === "en" ? "语音转写成英文：" : "语音转写成中文：";
    const messages = [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: `${prompt}<|startofspeech|>!${wav}<|endofspeech|>` },
      { role: "assistant", content: text },
    ];
    const ms = samples.length / 16;
    const speechLength = Math.floor((ms - 25) / 10) + 1;
    lines.push(JSON.stringify({ messages, speech_length: speechLength, text_length: text.length }));
  }
  writeFileSync(at("valid.jsonl"), `${lines.join("\n")}\n`);
  writeFileSync(
    at("train.jsonl"),
    `${Array.from({ length: steps / 2 }, () => lines.join("\n")).join("\n")}\n`,
  );
  return lines.length;
}

function wavBytes(samples: Float32Array): Uint8Array {
  const out = Buffer.alloc(44 + 2 * samples.length);
  out.write("RIFF", 0, "latin1");
  out.writeUInt32LE(36 + 2 * samples.length, 4);
  out.write("WAVEfmt ", 8, "latin1");
  for (const [i, value] of [16, 0, 1 | (1 << 16), 0, 16_000, 0, 32_000, 0, 2 | (16 << 16)].entries())
    if (i % 2 === 0) out.writeUInt32LE(value, 16 + 2 * i);
  out.write("data", 36, "latin1");
  out.writeUInt32LE(2 * samples.length, 40);
  for (const [i, value] of samples.entries())
    out.writeInt16LE(Math.max(-32_768, Math.min(32_767, Math.round(value * 32_768))), 44 + 2 * i);
  return out;
}

interface Loss {
  readonly tag: "train" | "val";
  readonly loss: number;
}

/** Two epochs of funasr-train-ds; each has half of the steps, of all clips at once. */
function train(name: string, options: readonly string[], clips: number): Loss[] {
  const conf = {
    dataset_conf: ["batch_type=example", `batch_size=${clips}`, "num_workers=0", "sort_size=0"],
    train_conf: [
      ...["max_epoch=2", "log_interval=1", "keep_nbest_models=2", "avg_nbest_model=2"],
      "avg_keep_nbest_models_type=loss",
    ],
    scheduler_conf: ["warmup_steps=20"],
  };
  const all = Object.entries(conf).flatMap(([key, list]) => list.map((one) => `++${key}.${one}`));
  command(python!, [
    ...[join(here, "train.py"), at(`${name}.jsonl`), `++model=${at("funasr")}`],
    ...[`++train_data_set_list=${at("train.jsonl")}`, `++valid_data_set_list=${at("valid.jsonl")}`],
    ...["++device=cpu", "++ncpu=1", `++output_dir=${at(name)}`, `++hydra.run.dir=${at("hydra")}`],
    ...[...all, "++llm_conf.llm_dtype=fp32", ...options],
  ]);
  const lines = readFileSync(at(`${name}.jsonl`), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Loss);
}

interface Summary {
  readonly summary: {
    readonly groups: readonly {
      readonly scores: readonly { readonly name: string; readonly value: number }[];
    }[];
  };
}

/** CER in percent of the clips, by this package. */
function cer(model: string, base?: string): number {
  const where = ["--data", at("valid.jsonl"), "--max-tokens", "48", "--second", "0", "--json"];
  const out = cli("evaluate", "--model", model, ...(base === undefined ? [] : ["--base", base]), ...where);
  const { summary } = JSON.parse(out.trim().split("\n").at(-1)!) as Summary;
  return 100 * summary.groups[0].scores.find(({ name }) => name === "CER")!.value;
}

function loaded(
  weights: string,
  options: Record<string, unknown> = {},
): { warnings: string[]; unshared: string[]; tensors: number; texts: string[] } {
  const args = [join(here, "texts.py"), at("funasr"), weights, at("valid.jsonl"), JSON.stringify(options)];
  const [head, ...lines] = command(python!, args)
    .trim()
    .split("\n")
    .filter((line) => line.startsWith("{"));
  const found = JSON.parse(head) as { warnings: string[]; unshared: string[]; tensors: number };
  return { ...found, texts: lines.map((line) => (JSON.parse(line) as { text: string }).text) };
}

/** Texts of the clips by this package. */
function texts(model: string, base: string): string[] {
  const lines = readFileSync(at("valid.jsonl"), "utf8").trim().split("\n");
  return lines.map((line, i) => {
    const language = line.includes("成英文") ? "en" : "zh";
    const out = cli(
      "transcribe",
      "--model",
      model,
      "--base",
      base,
      "--language",
      language,
      "--max-tokens",
      "512",
      "--json",
      at(`${i}.wav`),
    );
    return (JSON.parse(out.trim().split("\n").at(-1)!) as { text: string }).text;
  });
}

async function main(): Promise<void> {
  mkdirSync(work, { recursive: true });
  const clips = await makeData();
  cli(
    "migrate",
    "--encoder",
    "models/demo",
    "--llm",
    "experiments/migration/text-llm",
    "--out",
    at("migrated"),
  );
  cli("convert", at("migrated"), at("funasr"), "--to", "funasr");
  const yaml = readFileSync(at("funasr", "config.yaml"), "utf8"); // the trainer knows no other rule
  writeFileSync(
    at("funasr", "config.yaml"),
    yaml.replace("use_low_frame_rate: false", "use_low_frame_rate: true"),
  );
  const before = loaded(at("funasr", "model.pt"));
  const runs: Run[] = [];
  const record = (name: string, losses: readonly Loss[], cerBefore: number, file: string): void => {
    const train = losses.filter(({ tag }) => tag === "train").map(({ loss }) => loss);
    const validation = losses.filter(({ tag }) => tag === "val").map(({ loss }) => loss);
    runs.push({ name, steps: train.length, train, validation, cerBefore, cerAfter: cer(file, at("funasr")) });
  };
  const untrained = cer(at("funasr"));
  const adaptor = train("adaptor", ["++optim_conf.lr=0.002"], clips);
  record("adaptor", adaptor, untrained, at("adaptor", "model.pt.best"));
  const best = at("adaptor", "model.pt.best");
  const theirs = loaded(best);
  const ours = texts(best, at("funasr"));
  const lora = [
    "++llm_conf.use_lora=true",
    "++lora_only=true",
    "++optim_conf.lr=0.001",
    `++init_param=${best}`,
  ];
  record("LoRA", train("lora", lora, clips), runs[0].cerAfter, at("lora", "model.pt.best"));
  cli("convert", at("lora", "model.pt.best"), at("merged"), "--base", at("funasr"));
  const result = {
    date: new Date().toISOString().slice(0, 10),
    clips,
    loader: { before, after: theirs },
    equalTexts: ours.filter((text, i) => text === theirs.texts[i]).length,
    runs,
    mergedCer: cer(at("merged")),
  };
  writeFileSync("bench/results/round-trip.json", `${JSON.stringify(result, null, 1)}\n`);
  replaceTable("docs/fine-tuning-at-scale.md", result);
}

await main().finally(() => {
  if (values.keep === undefined) rmSync(work, { recursive: true, force: true });
});

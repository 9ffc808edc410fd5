// Runs the inputs of a directory of cases through the command line and compares the output with the
// expected one: npm run check:cases -- DIR. The directory holds wav/ mp3/ other/ jsonl/
// kaldi-channel/ kaldi-end-1/ hostile/. A case without its file is omitted. A hostile file goes
// into a copy of models/demo. Exit 1 if a case differs.
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The expectation: an exit code, and a text in stdout or stderr. `not` must be in neither. */
interface Expected {
  readonly code: number;
  readonly holds: string;
  readonly not?: string;
}

interface Case {
  readonly file: string;
  /** The file's name in the model directory. Without one, the command gets the file itself. */
  readonly place?: string;
  readonly args: readonly string[];
  readonly expected: Expected;
}

const oven = "set the oven to eighty two degrees";
const heater = "set the heater to eighty two degrees";
const transcribe = ["transcribe", "--language", "en"];
const data = (layout: string): string[] => ["data", layout, "OUT"];
const evaluate = ["evaluate", "--language", "en", "--second", "0"];

const spoken = (file: string, holds = oven, not = "warning:"): Case => ({
  file,
  args: transcribe,
  expected: { code: 0, holds, not },
});
const says = (file: string, holds: string, code = 0): Case => ({
  file,
  args: transcribe,
  expected: { code, holds },
});
const made = (file: string, args: readonly string[], holds: string, code = 0): Case => ({
  file,
  args,
  expected: { code, holds },
});

const kaldi = [...evaluate, "--data"];
const model = (name: string, place: string, holds: string, code = 1): Case => ({
  file: `hostile/${name}`,
  place,
  args: [...transcribe, "models/demo/clips/en-seen-1.wav", "--model"],
  expected: { code, holds },
});

const wavs = ["align0", "arecord_80000000", "data7FFFFFFF_riff80000023", "data80000000_riff0", "data_odd"];
wavs.push("dataFFFFFFDB_riffFFFFFFFF", "riff_datasize", "riff_filesize", "riff_minus16", "riff_minus4");
const others = ["a.aac", "a.aiff", "alaw8k.wav", "mulaw8k.wav", "rec.webm", "rf64.wav", "flac.ogg"];

const cases: readonly Case[] = [
  ...wavs.map((name) => spoken(`wav/${name}.wav`)),
  says("wav/st_inverted.wav", oven),
  says("wav/st_inverted.wav", "the channels cancel each other"),
  ...["tail07", "tail04", "tail_ad44"].map((name) => says(`mp3/${name}.mp3`, oven)),
  spoken("mp3/tailzeros.mp3", oven, "damaged"),
  ...["concat_rates", "pod_44_22"].map((name) => says(`mp3/${name}.mp3`, heater)),
  says("mp3/trunc_xing.mp3", "warning:"),
  ...others.map((name) => says(`other/${name}`, oven)),
  spoken("other/video_longer.mp4"),
  says("other/chained_rates.ogg", heater),
  says("other/spx.ogg", "Speex", 1),
  says("other/trunc.opus", "warning:"),
  made("jsonl/nemo.jsonl", [...evaluate, "--data"], "0.00 %"),
  made("jsonl/prompt-null.jsonl", data("jsonl"), "1 utterances"),
  made("jsonl/transcript-null.jsonl", data("jsonl"), "1 utterances"),
  made("jsonl/missing-audio.jsonl", data("jsonl"), "no such file"),
  made("kaldi-channel", data("kaldi"), '"channel":1'),
  made("kaldi-channel", kaldi, "0.00 %"),
  made("kaldi-end-1", data("kaldi"), '"start":0,"text"'),
  says("hostile/bomb.flac", "s; cut the clip into parts", 1),
  says("hostile/dmg_flac.ogg", "warning:"),
  model("bomb-shared-lists.jinja", "chat_template.jinja", "error: "),
  model("quadratic-whitespace.jinja", "chat_template.jinja", "error: "),
  model("redos-pretokenizer.tokenizer.json", "tokenizer.json", "error: "),
  model("growing-normalizer.tokenizer.json", "tokenizer.json", "error: "),
  { ...model("flow-map.config.yaml", "config.yaml", "error: "), args: ["inspect"] },
  says("hostile/half.mp3", "warning:"),
  says("hostile/half.opus", "warning:"),
  made("hostile/wrongkeys.jsonl", [...evaluate, "--data"], "wrongkeys.jsonl:1: ", 1),
];

interface Got {
  readonly code: number;
  readonly text: string;
}

const binary = fileURLToPath(new URL("../bin/funasr-webgpu.js", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "funasr-cases-"));
const longest = 300_000; // ms of a case

function run(args: readonly string[]): Promise<Got> {
  return new Promise((resolve) => {
    execFile(process.execPath, [binary, ...args], { timeout: longest }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, text: `${stdout}${stderr}` });
    });
  });
}

/** Runs a case. If a command has OUT in its words, the file that it writes joins its text. */
async function result({ file, place, args }: Case, directory: string, index: number): Promise<Got> {
  const path = join(directory, file);
  if (place !== undefined) {
    const copy = join(scratch, `model-${index}`);
    cpSync("models/demo", copy, { recursive: true });
    if (place === "config.yaml") {
      rmSync(join(copy, "config.json")); // a directory with the names that FunASR gives
      renameSync(join(copy, "model.safetensors"), join(copy, "model.pt"));
    }
    cpSync(path, join(copy, place));
    return run([...args, copy]);
  }
  if (!args.includes("OUT")) return run([...args, path]);
  const out = join(scratch, `${index}.jsonl`);
  const got = await run([...args.filter((word) => word !== "OUT"), path, "--out", out]);
  return { ...got, text: `${existsSync(out) ? readFileSync(out, "utf8") : ""}${got.text}` };
}

/** The most telling line of the output: a result, an error or a warning. */
function shortly({ code, text }: Got): string {
  const lines = text.split("\n").filter((line) => line !== "" && !/^(device|loaded|Warning): ?/.test(line));
  return `${code}: ${lines[0] ?? ""}`.slice(0, 90);
}

const [directory] = process.argv.slice(2);
if (directory === undefined || !existsSync(directory)) {
  console.error("usage: npm run check:cases -- DIR, a directory with wav/ mp3/ other/ jsonl/ hostile/");
  process.exit(2);
}
try {
  let ran = 0;
  let wrong = 0;
  for (const [i, one] of cases.entries()) {
    if (!existsSync(join(directory, one.file))) continue;
    const got = await result(one, directory, i);
    const { code, holds, not } = one.expected;
    const ok =
      got.code === code && got.text.includes(holds) && (not === undefined || !got.text.includes(not));
    ran++;
    if (!ok) wrong++;
    console.log(`${ok ? "ok     " : "DIFFERS"} ${one.file}: expected ${code}: ${holds}; got ${shortly(got)}`);
  }
  console.log(`${ran} cases, ${wrong} differ`);
  if (wrong > 0 || ran === 0) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}

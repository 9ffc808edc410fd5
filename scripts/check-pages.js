// `npm run check:pages` makes the pages of profile, evaluate, train and transcribe from the demo and
// opens each in headless Chromium. It fails if the console has a line or nothing is drawn. `-- DIR` keeps the
// pages and pictures of each there: wide, dark, and at a phone's width. CHROMIUM names the program.
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkTranscriptPage } from "./check-transcript-page.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const clips = join(root, "models/demo/clips");
const scratch = mkdtempSync(join(tmpdir(), "pages-"));
const kept = process.argv[2];
if (kept) mkdirSync(kept, { recursive: true });
const directory = kept ?? scratch;

function findChromium() {
  const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
  const places = (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((place) => names.map((name) => join(place, name)));
  return process.env.CHROMIUM ?? places.find((file) => existsSync(file));
}

function command(...args) {
  const { status, stderr } = spawnSync(process.execPath, [join(root, "bin/funasr-webgpu.js"), ...args], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`funasr-webgpu ${args[0]} ended with ${status}: ${stderr}`);
}

/** The pages of the three commands, by name. */
function makePages() {
  const lines = readFileSync(join(clips, "clips.jsonl"), "utf8").split("\n").slice(0, 3);
  const items = lines
    .map((line) => JSON.parse(line))
    .map((item) => ({ ...item, audio: join(clips, item.audio) }));
  const data = join(scratch, "data.jsonl");
  writeFileSync(data, items.map((item) => `${JSON.stringify(item)}\n`).join(""));
  const at = (...names) => join(directory, ...names);
  command(
    "profile",
    items[0].audio,
    "--max-tokens",
    "4",
    "--html",
    at("profile.html"),
    "--trace",
    at("trace.json"),
  );
  command("evaluate", "--model", join(root, "models/demo"), "--data", data, "--out", at("evaluate"));
  const run = ["--out", join(scratch, "run"), "--steps", "4", "--every", "2"];
  command("train", "--model", join(root, "models/demo"), "--data", data, "--validation", data, ...run);
  return {
    profile: at("profile.html"),
    evaluate: at("evaluate", "report.html"),
    train: join(scratch, "run", "report.html"),
  };
}

/** The page of a recording: clips of 16 kHz with gaps. */
function makeTranscript() {
  const samples = ["en-seen-2", "zh-seen-2"].map((name) => {
    const bytes = readFileSync(join(clips, `${name}.wav`));
    return bytes.subarray(44);
  });
  const gap = Buffer.alloc(2 * 32_000);
  const body = Buffer.concat([gap, samples[0], gap, samples[1], gap]);
  const header = Buffer.from(readFileSync(join(clips, "en-seen-2.wav")).subarray(0, 44));
  header.writeUInt32LE(36 + body.length, 4);
  header.writeUInt32LE(body.length, 40);
  const wav = join(scratch, "recording.wav");
  writeFileSync(wav, Buffer.concat([header, body]));
  const file = join(directory, "transcript.html");
  command("transcribe", "--vad", join(root, "models/vad"), "--word-times", "--report", file, wav);
  return file;
}

/** A page that shows another at a phone's width. */
function atPhoneWidth(file) {
  const frame = join(scratch, "phone.html");
  writeFileSync(
    frame,
    `<body style="margin:0"><iframe src="file://${file}" width="390" height="2380"></iframe>`,
  );
  return frame;
}

/** Chromium's view of a page: the lines of its console, and the document after drawing. */
function open(chromium, file, picture, dark = false) {
  const profile = join(scratch, `chromium-${Math.random()}`);
  const args = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    `--user-data-dir=${profile}`,
    "--enable-logging=stderr",
    "--v=0",
    ...(dark ? ["--force-dark-mode"] : []),
  ];
  const shot = picture ? ["--window-size=1200,2400", `--screenshot=${picture}`] : ["--dump-dom"];
  return new Promise((resolve, reject) => {
    const options = { timeout: 120_000, maxBuffer: 1 << 28 };
    execFile(chromium, [...args, ...shot, `file://${file}`], options, (error, stdout, stderr) => {
      if (error) reject(error);
      else resolve({ document: stdout, lines: stderr.split("\n").filter((line) => /CONSOLE/.test(line)) });
    });
  });
}

const chromium = findChromium();
if (!chromium) {
  console.error("check:pages: expected chromium in PATH or in CHROMIUM, got none; install it");
  process.exit(1);
}
try {
  const broken = join(scratch, "broken.html");
  writeFileSync(broken, "<script>nothing.here()</script><img src='missing.png'>");
  const { lines } = await open(chromium, broken);
  if (!lines.some((line) => line.includes("nothing is not defined")))
    throw new Error("a page with an error left no line in the console");
  const failed = await checkTranscriptPage(chromium, makeTranscript(), scratch, kept);
  console.log(`transcript: ${failed.length} failures`);
  for (const line of failed) console.log(`  ${line}`);
  if (failed.length > 0) process.exitCode = 1;
  for (const [name, file] of Object.entries(makePages())) {
    const { document, lines: logged } = await open(chromium, file);
    if (kept) {
      await open(chromium, file, join(kept, `${name}.png`));
      await open(chromium, file, join(kept, `${name}-dark.png`), true);
      await open(chromium, atPhoneWidth(file), join(kept, `${name}-phone.png`));
    }
    const drawn = document.match(/<figure/g)?.length ?? 0;
    console.log(
      `${name}: ${drawn} charts, ${document.match(/<table/g)?.length ?? 0} tables, ${logged.length} lines in the console`,
    );
    for (const line of logged) console.log(`  ${line}`);
    if (logged.length > 0 || drawn === 0) process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
}

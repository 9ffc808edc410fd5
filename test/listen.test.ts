import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeClip } from "../src/node/clip.js";
import { demoModel } from "../src/node/demo.js";
import { type Run, binary, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";

// Plan: the built `listen` with the demo model, over PCM on standard input and over a fake recorder
// in PATH: what is said is printed whatever ends the audio, and each fault is one line. Then
// `transcribe --stream`, whose events are those of a live session.

const root = mkdtempSync(join(tmpdir(), "listen-"));
afterAll(() => rmSync(root, { recursive: true }));
const clip = join(demoModel, "clips", "en-seen-1.wav");
const text = "set the oven to eighty two degrees";
let speech: Buffer; // 16 kHz
const second = Buffer.alloc(32_000);
beforeAll(async () => {
  const { channels } = await decodeClip(clip, { keep: { rate: 16_000 } });
  speech = Buffer.from(Int16Array.from(channels[0], (value) => Math.round(32_767 * value)).buffer);
  writeFileSync(join(root, "speech.pcm"), speech);
});

interface Live {
  readonly run: Promise<Run>;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Settles when stdout or stderr have this. */
  readonly says: (pattern: RegExp) => Promise<void>;
  readonly closeStdout: () => void;
}

/** Runs `listen` with this on standard input, which may stay open, or with no standard input. */
function listen(
  args: readonly string[],
  input?: Buffer,
  env: NodeJS.ProcessEnv = {},
  stayOpen = false,
): Live {
  const child = spawn(process.execPath, [binary, "listen", ...args], {
    env: { ...process.env, ...env },
    stdio: [input ? "pipe" : "ignore", "pipe", "pipe"],
  });
  child.stdin?.on("error", () => undefined).write(input!);
  if (!stayOpen) child.stdin?.end();
  let [stdout, stderr] = ["", ""];
  child.stdout!.setEncoding("utf8").on("data", (piece: string) => (stdout += piece));
  child.stderr!.setEncoding("utf8").on("data", (piece: string) => (stderr += piece));
  const run = new Promise<Run>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
  return {
    run,
    kill: (signal) => void child.kill(signal),
    says: (pattern) =>
      expect.poll(() => stdout + stderr, { timeout: 120_000, interval: 20 }).toMatch(pattern),
    closeStdout: () => void child.stdout!.destroy(),
  };
}

const line = (start: string, end: string): RegExp => new RegExp(`^${start}\\t${end}\\t${text}\n$`);

describe("listen -", () => {
  test.each<[string, () => Buffer, readonly string[], RegExp, RegExp]>([
    ["speech to the end", () => speech, [], line("0.000", "[12].\\d+"), /device: /],
    [
      "silence around it, and half a sample",
      () => Buffer.concat([second, speech, second, Buffer.of(1)]),
      [],
      line("[01].\\d+", "[23].\\d+"),
      /warning: -: half a sample at the end is left out/,
    ],
    [
      "another rate",
      () => readFileSync(clip).subarray(44),
      ["--rate", `${readFileSync(clip).readUInt32LE(24)}`, "--language", "en", "--interval", "960"],
      line("0.000", "[12].\\d+"),
      /device: /,
    ],
    ["no speech", () => second, [], /^$/, /no speech was found/],
  ])("%s", async (_, input, args, stdout, stderr) => {
    const run = await listen(["-", ...args], input()).run;
    expect(run).toMatchObject({ code: 0, signal: null });
    expect(run.stdout).toMatch(stdout);
    expect(run.stderr).toMatch(stderr);
  });

  test.each<[string, () => Buffer, string]>([
    ["nothing", () => Buffer.alloc(0), "error: -: content: expected PCM, got 0 bytes"],
    [
      "a file of audio",
      () => readFileSync(clip),
      "error: -: content: expected raw PCM, got a file of audio; `transcribe --stream FILE` takes it, or `ffmpeg -i FILE -f s16le -ar 16000 -ac 1 - | funasr-webgpu listen -`",
    ],
  ])("refused: %s", async (_, input, message) => {
    expect(expectRefusal(await listen(["-"], input()).run)).toBe(message);
  });

  test("Ctrl-C ends input that stays open, and the open segment has its text", async () => {
    const live = listen(["-", "--json"], speech, {}, true);
    await live.says(/"partial"/);
    live.kill("SIGINT");
    const run = await live.run;
    expect(run).toMatchObject({ code: 130, signal: null });
    expect(jsonLines(run).at(-1)).toMatchObject({ type: "final", start: 0, text });
    expect(errorLines(run)).toEqual([]);
  });

  test("a reader that goes away ends the run with 0", async () => {
    const live = listen(["-"], Buffer.concat([speech, second, speech]));
    live.closeStdout();
    expect(await live.run).toMatchObject({ code: 0, signal: null });
    expect(errorLines(await live.run)).toEqual([]);
  });
});

/** A PATH with a recorder alone, which runs this program. */
function recorder(name: string, program: string, called = "arecord"): NodeJS.ProcessEnv {
  const directory = join(root, name);
  mkdirSync(directory);
  const file = join(directory, called);
  const head = `
    const fs = require("node:fs");
    const speech = fs.readFileSync(${JSON.stringify(join(root, "speech.pcm"))});
    const write = (bytes) => new Promise((resolve) => process.stdout.write(bytes, resolve));
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    fs.writeFileSync(__filename + ".args", JSON.stringify([process.pid, ...process.argv.slice(2)]));
    process.stdout.on("error", () => process.exit(1));
  `;
  writeFileSync(file, `#!${process.execPath}\n${head}\n(async () => {${program}})();`);
  chmodSync(file, 0o755);
  return { PATH: directory };
}

const argsOf = ({ PATH }: NodeJS.ProcessEnv, name: string): (string | number)[] =>
  JSON.parse(readFileSync(join(PATH!, `${name}.args`), "utf8")) as (string | number)[];

describe("listen to a microphone", () => {
  test("Ctrl-C ends the recorder, and the open segment has its text", async () => {
    const path = recorder("speaks", `await write(speech); await wait(3_600_000);`);
    const live = listen(["--json"], undefined, path);
    await live.says(/"partial"/);
    live.kill("SIGINT");
    const run = await live.run;
    expect(run).toMatchObject({ code: 130, signal: null });
    const events = jsonLines(run);
    expect(events.at(-1)).toMatchObject({ type: "final", start: 0, text });
    expect(events[0]).toEqual({
      type: "partial",
      start: 0,
      stable: "",
      tentative: expect.any(String) as unknown,
    });
    expect(run.stderr).toContain("listening by arecord; Ctrl-C ends it\n");
    const [pid, ...args] = argsOf(path, "arecord");
    expect(args).toEqual(["-q", "-t", "raw", "-f", "S16_LE", "-r", "16000", "-c", "1"]);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });

  test("a second Ctrl-C ends at once, with a recorder that does not stop", async () => {
    const path = recorder(
      "deaf",
      `process.on("SIGTERM", () => undefined); await write(speech); await wait(3_600_000);`,
    );
    const live = listen([], undefined, path);
    await live.says(/listening by/);
    await expect.poll(() => existsSync(join(path.PATH!, "arecord.args")), { timeout: 60_000 }).toBe(true);
    live.kill("SIGTERM");
    await live.says(/stopping behind the open segment/);
    live.kill("SIGTERM");
    expect(await live.run).toMatchObject({ code: 143, signal: null });
    const [pid] = argsOf(path, "arecord");
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 60_000 }).toBe(false);
  });

  test.each([
    [
      "dies in speech",
      `await write(speech); process.stderr.write("ALSA: no device\\nunplugged\\n"); process.exitCode = 3;`,
      line("0.000", "[12].\\d+"),
      "error: microphone: arecord: expected audio until Ctrl-C, got exit code 3 (unplugged); --device names another microphone",
    ],
    [
      "gives nothing",
      `process.exitCode = 1;`,
      /^$/,
      "error: microphone: arecord: expected audio until Ctrl-C, got exit code 1; --device names another microphone",
    ],
    [
      "is killed",
      `await write(speech); process.kill(process.pid, "SIGKILL");`,
      line("0.000", "[12].\\d+"),
      "error: microphone: arecord: expected audio until Ctrl-C, got SIGKILL; --device names another microphone",
    ],
  ])("a recorder that %s", async (name, program, stdout, error) => {
    const run = await listen([], undefined, recorder(name, program)).run;
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(run.stdout).toMatch(stdout);
    expect(errorLines(run)).toEqual([error]);
  });

  test("ffmpeg where there is no arecord that runs, with a device", async () => {
    const path = recorder("ffmpeg", `await write(speech);`, "ffmpeg");
    writeFileSync(join(path.PATH!, "arecord"), "", { mode: 0o644 });
    const run = await listen(["--device", "hw:1"], undefined, path).run;
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toMatch(line("0.000", "[12].\\d+"));
    expect(argsOf(path, "ffmpeg").join(" ")).toContain(" -f alsa -i hw:1 -ac 1 -ar 16000 -f s16le -");
  });

  test("no recorder is one line, before anything is loaded", async () => {
    const run = await listen([], undefined, { PATH: root }).run;
    expect(expectRefusal(run)).toBe(
      "error: microphone: recorder: expected arecord or ffmpeg in PATH, got neither; install alsa-utils (arecord) or ffmpeg, or pipe PCM to `listen -`",
    );
    expect(run.stderr).not.toMatch(/device:/);
  });
});

test.each([
  [["listen", "a.wav"], /argument 'source' is "a\.wav"; expected - or none; transcribe --stream takes files/],
  [["listen", "--rate", "8000"], /'--rate' has an effect only with PCM on standard input/],
  [["listen", "-", "--device", "hw:0"], /'--device' has an effect only with the microphone/],
  [["listen", "-", "--rate", "100"], /'100' is invalid/],
  [["listen", "--interval", "100"], /'100' is invalid/],
  [["transcribe", "--stream", "--format", "srt", "a.wav"], /'--format' has an effect only with whole/],
  [["transcribe", "--stream", "--vad", "off", "a.wav"], /'--vad' has an effect only with segments/],
  [
    ["transcribe", "--stream", "--channel", "each", "a.wav"],
    /'--channel' has an effect only with one channel/,
  ],
])("wrong usage: %j", async (args, stderr) => {
  const run = await cli(args);
  expect(run).toMatchObject({ code: 2, stdout: "" });
  expect(run.stderr).toMatch(stderr);
});

describe("transcribe --stream", () => {
  test("the events of a live session; a file that fails costs no other", async () => {
    const missing = join(root, "none.wav");
    const run = await cli(["transcribe", "--stream", "--json", clip, missing, clip]);
    expect(run.code).toBe(1);
    const all = jsonLines(run);
    const events = all.filter(({ file }) => file === clip);
    expect(all.filter(({ file }) => file === missing)).toMatchObject([{ error: { code: "ENOENT" } }]);
    const finals = events.filter(({ type }) => type === "final");
    expect(finals).toMatchObject([{ text }, { text }]);
    const partials = events.filter(({ type }) => type === "partial");
    expect(partials.length).toBeGreaterThan(2);
    for (const { stable } of partials) expect(text.startsWith(stable as string)).toBe(true);
    const half = events.length / 2;
    expect(events.slice(half)).toEqual(events.slice(0, half)); // each has its turn, whatever the time it takes
  });

  test.runIf(process.platform === "linux")("on a terminal the open line is redrawn", async () => {
    const command = [process.execPath, binary, "transcribe", "--stream", "--quiet", clip];
    const terminal = execFileSync(
      "script",
      ["-qec", command.map((arg) => `'${arg}'`).join(" "), "/dev/null"],
      {
        encoding: "utf8",
        env: { ...process.env, TERM: "xterm" },
      },
    );
    const shown = terminal.split("\r\x1b[K");
    expect(shown.at(-1)).toMatch(/^0\.000\t[12]\.\d+\tset the oven/);
    expect(shown.some((open) => /^.*\x1b\[2m.+\x1b\[22m$/.test(open))).toBe(true);
    expect((await cli(["transcribe", "--stream", clip])).stdout).not.toMatch(/[\x1b\r]/);
  });
});

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Run, binary, cli, errorLines } from "./helpers/cli.js";
import { tinyFiles, writeDirectory } from "./helpers/tiny-model.js";
import { wav } from "./helpers/wav.js";

let model: ReturnType<typeof writeDirectory>;
let audio: ReturnType<typeof writeDirectory>;
const clip = (name: string): string => join(audio.path, name);

beforeAll(async () => {
  model = writeDirectory(await tinyFiles({ seed: 5 }));
  audio = writeDirectory(
    new Map<string, Uint8Array | string>([
      ["a.wav", wav(0.4, 1)],
      ["b.wav", wav(0.4, 2)],
      ["c.wav", wav(0.4, 3)],
      ["empty.wav", ""],
    ]),
  );
});
afterAll(() => {
  model.remove();
  audio.remove();
});

const transcribe = (files: readonly string[], ...options: string[]): Promise<Run> =>
  cli(["transcribe", "--model", model.path, "--max-tokens", "8", ...options, ...files.map(clip)]);

// Plan: whatever kind of file is named, and whatever becomes of stdout, a run ends, with one line
// for each thing that failed.
describe("transcribe: files and streams", () => {
  it("ends by itself after its last result", async () => {
    const args = ["transcribe", "--model", model.path, "--max-tokens", "8", clip("a.wav")];
    const run = await cli(args, {}, { timeout: 300_000 }); // after this it is killed, which the signal shows
    expect({ ...run, stdout: run.stdout !== "" }).toMatchObject({ code: 0, signal: null, stdout: true });
  });

  it("reads standard input, as - and as /dev/stdin, and what a shell pipes in", async () => {
    const direct = await transcribe(["a.wav"]);
    const sources = [
      [`cat "$1" | "$2" "$3" transcribe --model "$4" --max-tokens 8 -`],
      [`"$2" "$3" transcribe --model "$4" --max-tokens 8 /dev/stdin < "$1"`],
      [`"$2" "$3" transcribe --model "$4" --max-tokens 8 <(cat "$1")`],
    ];
    for (const [script] of sources) {
      const shell = ["-c", script, "bash", clip("a.wav"), process.execPath, binary, model.path];
      const out = execFileSync("bash", shell, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      expect(out).toBe(direct.stdout);
    }
  });

  it("refuses at once what would never end, beside a clip that is good", async () => {
    const pipe = clip("pipe.wav");
    execFileSync("mkfifo", [pipe]);
    const files = [pipe, "/dev/zero", "-", clip("a.wav")];
    const run = await cli(
      ["transcribe", "--model", model.path, "--max-tokens", "8", ...files],
      {},
      { timeout: 300_000 },
    );
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(errorLines(run)).toEqual([
      `error: ${pipe}: type: expected a file, got a named pipe, which has no length; pipe the clip to - instead`,
      "error: /dev/zero: type: expected a file, got a device; record to a file, or pipe a whole clip to -",
      "error: -: type: expected a file, got a device; record to a file, or pipe a whole clip to -",
    ]);
    expect(run.stdout).toContain(`${clip("a.wav")}: `);
  });

  it.runIf(process.platform === "linux")("says how far it is on a terminal alone", async () => {
    const files = ["a.wav", "b.wav", "c.wav"];
    const args = [
      "transcribe",
      "--model",
      model.path,
      "--max-tokens",
      "8",
      "--batch",
      "2",
      ...files.map(clip),
    ];
    const command = [process.execPath, binary, ...args].map((arg) => `'${arg}'`).join(" ");
    const terminal = execFileSync("script", ["-qec", `${command} > /dev/null`, "/dev/null"], {
      encoding: "utf8",
    });
    const shown = terminal.split("\r\x1b[K").map((line) => line.trimEnd());
    for (const line of [
      `1/3: reading ${clip("a.wav")}`.slice(0, 79),
      "1-2/3: encoding 0.8 s",
      "1-2/3: writing the words of 0.8 s",
      "3/3: encoding 0.4 s",
    ]) {
      expect(shown).toContain(line);
    }
    expect(shown.at(-1)).not.toMatch(/^\d\/3/); // cleared
    expect((await transcribe(files, "--batch", "2")).stderr).not.toMatch(/\x1b|\r|encoding/);
  });

  it("says where the model wrote no text, and leaves no space behind the name", async () => {
    const files = await tinyFiles({
      seed: 5,
      edit: (tensors) =>
        tensors.map((tensor) =>
          tensor.name === "model.language_model.norm.weight"
            ? { ...tensor, data: new Uint8Array(tensor.data.length) } // every score 0: token 0, which ends it
            : tensor,
        ),
    });
    files.set("generation_config.json", Buffer.from('{"eos_token_id": 0}'));
    const silent = writeDirectory(files);
    const run = await cli(["transcribe", "--model", silent.path, clip("a.wav"), clip("b.wav")]);
    silent.remove();
    expect(run.stdout).toBe(`${clip("a.wav")}:\n${clip("b.wav")}:\n`);
    expect(run.stderr).toContain(
      `${clip("a.wav")}: the model wrote no text; --vad MODEL cuts the clip at its pauses\n`,
    );
  });

  it("says where a clip was decoded in part", async () => {
    const bytes = readFileSync(new URL("fixtures/audio/speech.m4a", import.meta.url));
    bytes.fill(0xa5, 1300, 1360);
    writeFileSync(clip("part.m4a"), bytes);
    const run = await transcribe(["part.m4a"]);
    expect(run).toMatchObject({ code: 0, signal: null });
    expect(run.stderr).toMatch(
      /^warning: .*part\.m4a: 0\.\d+ s could be decoded of the 0\.50 s in the header$/m,
    );
  });

  it("names of any kind are in the error once, in one line", async () => {
    symlinkSync("loop.wav", clip("loop.wav"));
    const files = ["", clip("two\nlines.wav"), clip("loop.wav"), clip("x".repeat(300))];
    writeFileSync(files[1], "no audio");
    const run = await cli(["transcribe", "--model", model.path, ...files]);
    expect(run).toMatchObject({ code: 1, signal: null, stdout: "" });
    const lines = errorLines(run);
    expect(lines).toHaveLength(4);
    expect(lines[0]).toBe('error: "": expected a file of that name, got none; check the path');
    expect(lines[1].startsWith(`error: ${clip("two\\u000alines.wav")}: container: expected`)).toBe(true);
    expect(lines[1].split("lines.wav")).toHaveLength(2);
    expect(lines[2]).toBe(
      `error: ${clip("loop.wav")}: expected a file, got a link that leads back to itself; name the file itself`,
    );
    expect(lines[3]).toMatch(/: expected a name that the system takes, got one too long; shorten it$/);
  });

  it("stops quietly when its reader has gone", async () => {
    const files = Array.from({ length: 6 }, () => clip("a.wav"));
    const child = spawn(
      process.execPath,
      [binary, "transcribe", "--json", "--model", model.path, "--max-tokens", "2", ...files],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdout.once("data", () => child.stdout.destroy()); // as `head -1` does
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    expect({ code, signal, stderr }).toMatchObject({ code: 0, signal: null });
    expect(stderr).not.toMatch(/EPIPE|error:|^\s+at /m);
  });

  it("keeps the exit code of what failed before its reader had gone", async () => {
    const files = [clip("empty.wav"), ...Array.from({ length: 6 }, () => clip("a.wav"))];
    const child = spawn(
      process.execPath,
      [binary, "transcribe", "--json", "--model", model.path, "--max-tokens", "2", ...files],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdout.once("data", () => child.stdout.destroy());
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    expect({ code, signal, stderr }).toMatchObject({ code: 1, signal: null });
  });

  it("a full disk is one line", async () => {
    const full = openSync("/dev/full", "w");
    const args = ["inspect", "--json", model.path];
    const child = spawn(process.execPath, [binary, ...args], { stdio: ["ignore", full, "pipe"] });
    closeSync(full);
    let stderr = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    expect(await once(child, "close")).toEqual([1, null]);
    expect(stderr).toMatch(/^error: stdout: expected room to write, got a full disk; [^\n]*\n$/);
  });
});

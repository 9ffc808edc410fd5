import { fileURLToPath } from "node:url";
import { describe, expect, it, test } from "vitest";
import { cli } from "./helpers/cli.js";

const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

// Plan: help of the program and of each command is a result; wrong usage is exit 2 with the
// complaint and usage on stderr.
describe.concurrent("usage", () => {
  it.each([[], ["transcribe"], ["verify"], ["inspect"], ["devices"]])("--help of %s", async (...command) => {
    const run = await cli([...command, "--help"]);
    expect(run).toMatchObject({ code: 0, signal: null, stderr: "" });
    expect(run.stdout).toMatch(new RegExp(`^Usage: funasr-webgpu ${command.join(" ")}`));
  });

  it("help says what happens without --language, and that - is standard input", async () => {
    const help = (await cli(["transcribe", "--help"])).stdout.replaceAll(/\s+/g, " ");
    expect(help).toContain("spoken language; default: the model detects it");
    expect(help).toContain("- is standard input");
  });

  it("help of every command gives no path of this machine and no default twice", async () => {
    const commands = (await cli(["--help"])).stdout.matchAll(/^ {2}([a-z]+) /gm);
    const names = Array.from(commands, ([, name]) => name).filter((name) => name !== "help");
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) {
      const { stdout } = await cli([name, "--help"]);
      expect(stdout).not.toContain(root);
      const options = stdout.split(/\n(?= {2}-)/).map((text) => text.replaceAll(/\s+/g, " "));
      expect(options.filter((text) => /default:.*\(default:/.test(text))).toEqual([]);
    }
  });

  it("--version is package.json's", async () => {
    const { default: manifest } = await import("../package.json", { with: { type: "json" } });
    expect(await cli(["--version"])).toMatchObject({ code: 0, stdout: `${manifest.version}\n`, stderr: "" });
  });

  it.each([
    [[], /Usage: funasr-webgpu/],
    [["dance"], /unknown command 'dance'[^]*usage:/],
    [["dance", "--help"], /unknown command 'dance'[^]*usage:/],
    [["--help", "dance"], /unknown command 'dance'[^]*usage:/],
    [["dance", "-h", "a.wav"], /unknown command 'dance'[^]*usage:/],
    [["help", "dance"], /unknown command 'dance'[^]*usage:/],
    [["transcribr", "--help"], /unknown command 'transcribr' \(Did you mean transcribe\?\)/],
    [["transcribe"], /missing required argument 'audio'[^]*usage: funasr-webgpu transcribe/],
    [["transcribe", "--loud", "a.wav"], /unknown option '--loud'[^]*usage: funasr-webgpu transcribe/],
    [
      ["transcribe", "--language", "fr", "a.wav"],
      /'fr' is invalid\. French is not among the 31 languages [^]*zh, en, ja[^]*usage:/,
    ],
    [["transcribe", "--language", "tl", "a.wav"], /'tl' is invalid\. tl is not among/],
    [["inspect", "--model", "dir"], /Name it without --model: inspect dir\nusage:/],
    [["transcribe", "--weights", "q2", "a.wav"], /'q2' is invalid[^]*usage:/],
    [["transcribe", "--batch", "0", "a.wav"], /'0' is invalid\. Expected a whole number from 1\.[^]*usage:/],
    [["transcribe", "--max-tokens", "1.5", "a.wav"], /'1\.5' is invalid[^]*usage:/],
    [["transcribe", "--repetition-penalty", "0", "a.wav"], /'0' is invalid[^]*usage:/],
    [
      ["transcribe", "--hotwords", ", ", "a.wav"],
      /', ' is invalid\. Expected words separated by commas\.[^]*usage:/,
    ],
    [["transcribe", "--model"], /argument missing[^]*usage:/],
    [["verify", "--weights", "int3"], /'int3' is invalid[^]*usage: funasr-webgpu verify/],
    [["devices", "here"], /too many arguments[^]*usage: funasr-webgpu devices/],
  ])("%j is wrong", async (args, complaint) => {
    const run = await cli(args);
    expect(run).toMatchObject({ code: 2, signal: null, stdout: "" });
    expect(run.stderr).toMatch(complaint);
  });
});

test.each([["transcribe"], ["translate"], ["vad"]])(
  "%s --help lists every container that is read",
  async (name) => {
    const { stdout } = await cli([name, "--help"]);
    for (const kind of ["wav", "w64", "aiff", "au", "mp3", "flac", "ogg", "opus", "m4a", "aac", "webm"])
      expect(stdout).toMatch(new RegExp(`\\b${kind}\\b`));
  },
);

import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  copyFileSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CTC_TOKENIZER } from "../src/checkpoint/ctc.js";
import { mayBeLong, readAudio } from "../src/cli/evaluate/audio.js";
import { parseWav } from "../src/frontend/wav.js";
import { wavBytes } from "../src/frontend/write-wav.js";
import { loadTranscriber } from "../src/decode/load.js";
import { parseSegments } from "../src/decode/segments/segment-file.js";
import { transcribeRecording, wholeSeconds } from "../src/decode/segments/transcribe-recording.js";
import { VoiceActivityDetector } from "../src/decode/vad/detector.js";
import { demoModel } from "../src/node/demo.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";
import { cli, errorLines, jsonLines } from "./helpers/cli.js";

// Plan: `vad` prints the same segments as text, JSON, RTTM and labels, and writes their samples;
// `transcribe` gives each segment the text of its samples in a file of their own, joins them, and
// takes segments from a file; clips of more than 15 s are cut where the checkpoint joins little; a short clip keeps the text of `--vad off`; silence has no text.

interface Segment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly finish: string;
}

let folder: string;
const file = (name: string): string => join(folder, name);
const samplesOf = (name: string): Float32Array =>
  parseWav(readFileSync(join(demoModel, "clips", name)), name).channels[0];
const silence = (seconds: number): Float32Array => new Float32Array(16_000 * seconds);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vad-"));
  const parts = [
    silence(0.5),
    samplesOf("en-seen-1.wav"),
    silence(4),
    samplesOf("zh-seen-1.wav"),
    silence(4),
    samplesOf("en-seen-2.wav"),
  ];
  const all = Float32Array.from(parts.flatMap((part) => [...part]));
  writeFileSync(file("talk.wav"), wavBytes(all, 16_000));
  const near = [samplesOf("zh-seen-1.wav"), silence(0.5), samplesOf("en-seen-2.wav")];
  writeFileSync(file("near.wav"), wavBytes(Float32Array.from(near.flatMap((part) => [...part])), 16_000));
  writeFileSync(file("quiet.wav"), wavBytes(silence(3), 16_000));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("vad", () => {
  test.each([
    ["--pieces", "pieces"],
    ["--format", "rttm"],
  ])("%s of two files of one name", async (...option) => {
    const run = await cli(["vad", ...option, "a/x.wav", "b/x.wav"]);
    expect(run.code).toBe(2);
    expect(errorLines(run)[0]).toContain("a/x.wav and b/x.wav would both be written as x; rename one");
  });

  test("the same segments in every format, and their samples", async () => {
    const json = await cli(["vad", "--json", "--pieces", file("pieces"), file("talk.wav")]);
    expect({ code: json.code, errors: errorLines(json) }).toEqual({ code: 0, errors: [] });
    const [{ segments, audioSeconds }] = jsonLines(json) as unknown as {
      segments: Segment[];
      audioSeconds: number;
    }[];
    expect(segments.length).toBe(3);
    for (const [i, { start, end }] of segments.entries()) {
      expect(start).toBeGreaterThanOrEqual(i === 0 ? 0 : segments[i - 1].end);
      expect(end).toBeGreaterThan(start);
      expect(end).toBeLessThanOrEqual(audioSeconds);
    }
    const whole = parseWav(readFileSync(file("talk.wav")), "x").channels[0];
    for (const [i, name] of readdirSync(file("pieces")).sort().entries()) {
      const { start, end } = segments[i];
      const [piece] = parseWav(readFileSync(join(file("pieces"), name)), name).channels;
      expect(piece).toEqual(whole.slice(Math.round(start * 16_000), Math.round(end * 16_000)));
    }
    const lines = async (...args: string[]): Promise<string[]> =>
      (await cli(["vad", ...args, file("talk.wav")])).stdout.trimEnd().split("\n");
    const fixed = (value: number): string => value.toFixed(3);
    expect(await lines()).toEqual(segments.map(({ start, end }) => `${fixed(start)} ${fixed(end)}`));
    expect(await lines("--format", "audacity")).toEqual(
      segments.map(({ start, end }) => `${fixed(start)}\t${fixed(end)}\tspeech`),
    );
    expect(await lines("--format", "rttm")).toEqual(
      segments.map(
        ({ start, end }) => `SPEAKER talk 1 ${fixed(start)} ${fixed(end - start)} <NA> <NA> speech <NA> <NA>`,
      ),
    );
  });

  test("silence has a note; a file that is missing has an error, and the others are done", async () => {
    const run = await cli(["vad", "--json", file("none.wav"), file("quiet.wav")]);
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(`${file("quiet.wav")}: no speech was found`);
    expect(jsonLines(run)).toMatchObject([
      { file: file("none.wav"), error: {} },
      { file: file("quiet.wav"), audioSeconds: 3, segments: [] },
    ]);
  });

  test.each([
    ["--threshold", "2"],
    ["--max-end-silence", "-1"],
    ["--max-end-silence", "60001"],
    ["--max-segment", "10"],
    ["--format", "srt"],
  ])("%s %s is wrong usage", async (...option) => {
    const run = await cli(["vad", ...option, file("quiet.wav")]);
    expect({ code: run.code, stdout: run.stdout, errors: errorLines(run).length }).toEqual({
      code: 2,
      stdout: "",
      errors: 1,
    });
  });
});

describe("transcribe in segments", () => {
  const vad = join(demoModel, "..", "vad");

  test("each has the text of its samples alone; the texts join; the rest is silence", async () => {
    const run = await cli(["transcribe", "--json", "--vad", vad, "--merge-seconds", "0", file("talk.wav")]);
    expect({ code: run.code, errors: errorLines(run) }).toEqual({ code: 0, errors: [] });
    const [{ text, segments, silences, audioSeconds }] = jsonLines(run) as unknown as {
      text: string;
      segments: Segment[];
      silences: Segment[];
      audioSeconds: number;
    }[];
    expect(segments.length).toBe(3);
    expect(text).toBe(segments.map((segment) => segment.text).join(" "));
    const covered = [...segments, ...silences].reduce((sum, { start, end }) => sum + end - start, 0);
    expect(covered).toBeCloseTo(audioSeconds, 6);
    const whole = parseWav(readFileSync(file("talk.wav")), "x").channels[0];
    const alone = segments.map(({ start, end }, i) => {
      writeFileSync(
        file(`alone-${i}.wav`),
        wavBytes(whole.slice(Math.round(start * 16_000), Math.round(end * 16_000)), 16_000),
      );
      return file(`alone-${i}.wav`);
    });
    const single = jsonLines(await cli(["transcribe", "--json", ...alone]));
    expect(single.map(({ text }) => text)).toEqual(segments.map((segment) => segment.text));
    const plain = await cli([
      "transcribe",
      "--vad",
      vad,
      "--merge-seconds",
      "0",
      "--batch",
      "1",
      file("talk.wav"),
    ]);
    expect(plain.stdout).toBe(`${text}\n`);
    writeFileSync(file("talk.json"), JSON.stringify({ segments }));
    const again = jsonLines(
      await cli(["transcribe", "--json", "--segments", file("talk.json"), file("talk.wav")]),
    );
    expect(again[0]).toMatchObject({
      text,
      segments: segments.map(({ start, end, text }) => ({ start, end, text })),
    });
  });

  test("transcribeRecording gives the segments of the command; the demo says that none are joined", async () => {
    const { gpu } = await openDevice();
    const transcriber = await loadTranscriber(gpu, demoModel, { wordTimes: "optional" });
    const detector = await VoiceActivityDetector.load(gpu, modelDirectory(vad));
    const whole = parseWav(readFileSync(file("talk.wav")), "x").channels[0];
    const blocks = [whole.subarray(0, 100_000), whole.subarray(100_000)];
    const first = await transcribeRecording(transcriber, detector, blocks);
    const { segments, text, seconds } = first;
    const given = { segments: parseSegments(JSON.stringify({ segments }), "talk.json", "talk.wav") };
    const again = await transcribeRecording(transcriber, undefined, [whole], given);
    expect(again).toEqual(first);
    await expect(transcribeRecording(transcriber, undefined, [whole])).rejects.toThrow(
      "transcribeRecording: detector: expected one, or segments, got undefined",
    );
    const wrong: [unknown, object, string][] = [
      [
        [[0, 0]],
        {},
        "transcribeRecording: blocks: expected a Float32Array each, got an object of class Array",
      ],
      [[whole], { mergeMs: -1 }, "transcribeRecording: mergeMs: expected 0 ms or more, got -1"],
      [[whole], { mergeMs: NaN }, "transcribeRecording: mergeMs: expected 0 ms or more, got NaN"],
      [
        [whole],
        { segments: [{ start: 0, end: 1 }] },
        "GivenSpeech: segments[0].startMs: expected ms, got undefined",
      ],
    ];
    for (const [audio, options, says] of wrong)
      await expect(
        transcribeRecording(transcriber, detector, audio as Float32Array[], options),
      ).rejects.toThrow(says);
    gpu.destroy();
    const [json] = jsonLines(await cli(["transcribe", "--json", "--vad", vad, file("talk.wav")]));
    const untimed = segments.map((segment) => ({ ...segment, words: undefined }));
    expect({ segments: untimed, text, audioSeconds: seconds }).toEqual({
      segments: json.segments,
      text: json.text,
      audioSeconds: json.audioSeconds,
    });
    const joined = ["--merge-seconds", "15", file("near.wav")];
    const counts = [[file("near.wav")], joined].map(async (args) => {
      const [{ segments: found }] = jsonLines(await cli(["transcribe", "--json", "--vad", vad, ...args]));
      return (found as unknown[]).length;
    });
    expect(await Promise.all(counts)).toEqual([2, 1]);
  });

  test("the demo's clips of more than 15 s are cut without --vad, in evaluate too", async () => {
    const [{ segments, audioSeconds }] = jsonLines(
      await cli(["transcribe", "--json", file("talk.wav")]),
    ) as unknown as { segments: Segment[]; audioSeconds: number }[];
    expect(audioSeconds).toBeGreaterThan(15);
    expect(audioSeconds).toBeLessThan(60);
    expect(segments.length).toBe(3);
    expect(segments[0].text).toBe("set the oven to eighty two degrees");
    const reading = { rate: 16_000, maxSeconds: 100 };
    const utterance = { line: 1, audio: file("talk.wav"), text: "" };
    expect(await readAudio(utterance, { ...reading, wholeSeconds: 15 })).toHaveProperty("stream");
    expect(await readAudio(utterance, { ...reading, wholeSeconds: 60 })).toHaveProperty("channels");
    expect(
      await Promise.all(["talk.wav", "quiet.wav"].map((audio) => mayBeLong({ audio: file(audio) }))),
    ).toEqual([true, false]);
  });

  test.each([
    [undefined, 100, 60],
    [0, 100, 15],
    [14.9, 100, 15],
    [15, 100, 60],
    [20, 100, 60],
    [0, 10, 10],
    [undefined, 40, 40],
  ])("merge_length_s %s and a model of %i s: whole up to %i s", (mergeSeconds, maxSeconds, whole) => {
    const config = mergeSeconds === undefined ? {} : { mergeSeconds };
    expect(wholeSeconds(config, maxSeconds)).toBe(whole);
  });

  test("a given segment whose text the CTC head does not hear has a warning", async () => {
    mkdirSync(file("other-tokens"));
    for (const name of readdirSync(demoModel))
      if (!/^recipe|^clips/.test(name)) copyFileSync(join(demoModel, name), join(file("other-tokens"), name));
    const path = join(file("other-tokens"), CTC_TOKENIZER);
    const tokens = readFileSync(path, "utf8").trim().split("\n");
    const spelled = tokens.map((line) => line.split(" ")[0]);
    const next = (i: number): number => (i < 256 ? i : 256 + ((i - 255) % (spelled.length - 256)));
    writeFileSync(path, spelled.map((_, i) => `${spelled[next(i)]} ${i}\n`).join(""));
    const clip = join(demoModel, "clips", "zh-seen-1.wav");
    writeFileSync(file("given.json"), '[{"start": 0, "end": 2.8}]');
    const heard = async (model: string): Promise<[Record<string, unknown>, boolean]> => {
      const args = ["--json", "--segments", file("given.json"), "--model", model, clip];
      const run = await cli(["transcribe", ...args]);
      const says = `warning: ${clip}: 0 to 2.8 s: the CTC head hears another text; check the segment's times\n`;
      return [jsonLines(run)[0], run.stderr.includes(says)];
    };
    const [own, warned] = await heard(demoModel);
    expect(own.text).toMatch(/\p{Script=Han}{5}/u);
    expect(warned).toBe(false);
    const [other, otherWarned] = await heard(file("other-tokens"));
    expect(other.text).toBe(own.text);
    expect(otherWarned).toBe(true);
  });

  test("a text that the CTC head did not hear is left out, and named", async () => {
    let [seed, low] = [1, 0];
    const hiss = Float32Array.from({ length: 3 * 16_000 }, (_, i) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      low += 0.2 * (seed / 2 ** 30 - 1 - low);
      return 0.45 * low * (0.5 + 0.5 * Math.sin((2 * Math.PI * 5 * i) / 16_000)) ** 2;
    });
    writeFileSync(file("hiss.wav"), wavBytes(hiss, 16_000));
    writeFileSync(file("hiss.json"), '[{"start": 0, "end": 3}]');
    mkdirSync(file("headless"));
    for (const name of readdirSync(demoModel))
      if (!/^ctc|^recipe|^clips/.test(name))
        copyFileSync(join(demoModel, name), join(file("headless"), name));
    const heard = async (...model: string[]): Promise<[Record<string, unknown>, string]> => {
      const args = ["--json", "--segments", file("hiss.json"), file("hiss.wav")];
      const run = await cli(["transcribe", ...args, ...model]);
      const [{ segments }] = jsonLines(run);
      return [(segments as Record<string, unknown>[])[0], run.stderr];
    };
    const [{ text: invented, finish }, quiet] = await heard("--model", file("headless"));
    expect(invented).toMatch(/\w{3}/);
    expect(finish).toBe("stop");
    expect(quiet).not.toContain("left out");
    const [segment, stderr] = await heard();
    expect(segment).toMatchObject({ text: "", tokenIds: [], finish: "no-speech", dropped: invented });
    expect(stderr).toContain(`a text that the CTC head did not hear was left out: ${String(invented)}`);
    expect(stderr).toContain("no speech was found");
  });

  test("a short clip keeps the text of the whole, and silence has none", async () => {
    const short = join(demoModel, "clips", "en-seen-1.wav");
    const [plain] = jsonLines(await cli(["transcribe", "--json", short]));
    const [off] = jsonLines(await cli(["transcribe", "--json", "--vad", "off", short]));
    expect(plain).toMatchObject({
      text: off.text,
      tokenIds: off.tokenIds,
      segments: [{ start: 0, text: off.text, finish: "stop" }],
    });
    const quiet = await cli(["transcribe", "--json", "--vad", vad, file("quiet.wav")]);
    expect(jsonLines(quiet)).toMatchObject([{ text: "", segments: [], silences: [{ start: 0, end: 3 }] }]);
  });
});

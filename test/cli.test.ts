import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectedTensors } from "../src/config/expected-tensors.js";
import { bundleBytes, bundleParts, bundlePath, floatsOf } from "./helpers/bundles.js";
import { type Run, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { tinyConfig, tinyFiles, writeDirectory } from "./helpers/tiny-model.js";
import { nanWav, wav } from "./helpers/wav.js";

let model: ReturnType<typeof writeDirectory>;
let audio: ReturnType<typeof writeDirectory>;
const clip = (name: string): string => join(audio.path, name);

beforeAll(async () => {
  model = writeDirectory(await tinyFiles({ seed: 5 }));
  audio = writeDirectory(
    new Map<string, Uint8Array | string>([
      ["a.wav", wav(0.4, 1)],
      ["b.wav", wav(0.9, 2)],
      ["truncated.wav", wav(0.4, 1).subarray(0, 2000)],
      ["empty.wav", ""],
      ["no-samples.wav", wav(0, 1)],
      ["0-channels.wav", wav(0.4, 1, (_, view) => view.setUint16(22, 0, true))],
      ["absurd-rate.wav", wav(0.4, 1, (_, view) => view.setUint32(24, 4e9, true))],
      ["wrong-size.wav", wav(0.4, 1, (_, view) => view.setUint32(4, 1 << 30, true))],
      ["nan.wav", nanWav()],
      ["short.wav", wav(0.02, 1)],
      ["text.wav", "this is no audio"],
      ["folder.wav/x", ""],
    ]),
  );
});
afterAll(() => {
  model.remove();
  audio.remove();
});

const transcribe = (files: readonly string[], ...options: string[]): Promise<Run> =>
  cli(["transcribe", "--model", model.path, "--max-tokens", "8", ...options, ...files.map(clip)]);

const fields = ["file", "text", "tokenIds", "audioSeconds", "seconds", "finish", "segments"];
const stages = ["frontend", "encoder", "adaptor", "prefill", "decode"];

// Plan: results alone on stdout, in the order of the files, alone or in batches; a file that fails
// costs one line and exit 1.
describe("transcribe", () => {
  it("--json prints one object per clip with the fields of the contract", async () => {
    const run = await transcribe(["a.wav", "b.wav"], "--json");
    expect(run).toMatchObject({ code: 0, signal: null });
    const results = jsonLines(run);
    expect(results.map((result) => Object.keys(result))).toEqual([fields, fields]);
    expect(results.map(({ file }) => file)).toEqual([clip("a.wav"), clip("b.wav")]);
    expect(results.map(({ audioSeconds }) => audioSeconds)).toEqual([0.4, 0.9]);
    for (const { seconds, finish, tokenIds, text } of results) {
      expect(Object.keys(seconds as object)).toEqual(stages);
      expect(Object.values(seconds as object).every((value) => (value as number) > 0)).toBe(true);
      expect(["stop", "length", "loop"]).toContain(finish);
      expect((tokenIds as number[]).length).toBeLessThanOrEqual(8);
      expect(text).toBeTypeOf("string");
    }
  });

  it("prints text alone for one clip, names for several; batches and options change no clip's words", async () => {
    const texts = jsonLines(await transcribe(["a.wav", "b.wav"], "--json", "--batch", "2")).map(
      ({ text }) => text as string,
    );
    expect((await transcribe(["a.wav"])).stdout).toBe(`${texts[0]}\n`);
    expect((await transcribe(["a.wav", "b.wav"])).stdout).toBe(
      `${clip("a.wav")}: ${texts[0]}\n${clip("b.wav")}: ${texts[1]}\n`,
    );
  });

  it("takes every prompt option", async () => {
    const run = await transcribe(
      ["a.wav"],
      ...["--json", "--language", "zh", "--hotwords", "开灯, WebGPU", "--context", "home", "--no-itn"],
      ...["--weights", "f32"],
    );
    expect(run.code).toBe(0);
    expect(jsonLines(run)).toHaveLength(1);
  });

  it("one bad file among good ones", async () => {
    const run = await transcribe(["a.wav", "nan.wav", "b.wav"], "--json");
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(
      jsonLines(run)
        .filter(({ error }) => !error)
        .map(({ file }) => file),
    ).toEqual([clip("a.wav"), clip("b.wav")]);
    expect(errorLines(run)).toHaveLength(1);
    expect(errorLines(run)[0]).toContain(clip("nan.wav"));
  });

  it("a cut file is transcribed with a warning, and refused with --strict; a wrong size of the whole is no fault", async () => {
    const files = ["truncated.wav", "wrong-size.wav"];
    const run = await transcribe(files, "--json");
    expect(run).toMatchObject({ code: 0, signal: null });
    expect(jsonLines(run).map(({ warnings }) => warnings)).toEqual([
      [expect.stringMatching(/^0\.06 s could be read of the 0\.40 s in the header$/)],
      undefined,
    ]);
    const strict = await transcribe(files, "--strict");
    expect(strict.code).toBe(1);
    expect(errorLines(strict)).toEqual([
      expect.stringMatching(
        /truncated\.wav: audio: expected a whole file \(--strict\), got 0\.06 s could be read/,
      ),
    ]);
  });

  it("every kind of bad file, in one line each", async () => {
    const bad: [string, RegExp][] = [
      ["empty.wav", /expected .*, got/],
      ["no-samples.wav", /data\.size: expected at least one frame.*, got 0/],
      ["0-channels.wav", /fmt\.channels: expected 1\.\.64, got 0/],
      ["absurd-rate.wav", /fmt\.sampleRate: expected .* Hz, got 4000000000/],
      ["nan.wav", /sample 1 of channel 0: expected a finite number, got NaN/],
      ["short.wav", /expected .*25 ms.*, got/],
      ["text.wav", /expected .*, got/],
      ["folder.wav", /expected a file, got a directory/],
      ["missing.wav", /expected a file of that name, got none/],
    ];
    const run = await transcribe(bad.map(([name]) => name));
    expect(run).toMatchObject({ code: 1, signal: null, stdout: "" });
    const lines = errorLines(run);
    expect(lines).toHaveLength(bad.length);
    for (const [i, [name, message]] of bad.entries()) {
      expect(lines[i].startsWith(`error: ${clip(name)}: `)).toBe(true);
      expect(lines[i]).toMatch(message);
    }
    expect(run.stderr).not.toMatch(/^\s+at /m);
  });

  it("an option that no prompt can hold is wrong usage, said once for all clips", async () => {
    const run = await transcribe(["a.wav", "b.wav"], "--context", "x<|im_end|>");
    expect(run).toMatchObject({ code: 2, signal: null, stdout: "" });
    const lines = errorLines(run);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/context: expected text without the vocabulary's own token <\|im_end\|>/);
  });

  it("a clip too long for the model costs its batch nothing but its own result", async () => {
    const files = await tinyFiles({
      seed: 5,
      editConfig: (config) => ({
        ...config,
        text_config: { ...(config.text_config as object), max_position_embeddings: 64 },
      }),
    });
    const small = writeDirectory(new Map([...files, ["long.wav", wav(6, 3)]]));
    const long = join(small.path, "long.wav");
    const run = await cli([
      ...["transcribe", "--json", "--vad", "off", "--model", small.path, "--batch", "3"],
      ...[clip("a.wav"), long, clip("b.wav")],
    ]);
    small.remove();
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(
      jsonLines(run)
        .filter(({ error }) => !error)
        .map(({ file }) => file),
    ).toEqual([clip("a.wav"), clip("b.wav")]);
    expect(errorLines(run)).toHaveLength(1);
    expect(errorLines(run)[0]).toMatch(/^error: .*long\.wav: prompt: expected .*; cut the clip into parts/);
    expect(errorLines(run)[0].split("long.wav")).toHaveLength(2);
  });

  it("names the clip in an error that knows none, each clip of a batch once", async () => {
    const damaged = writeDirectory(
      await tinyFiles({
        edit: (tensors) =>
          tensors.map((tensor) =>
            tensor.name === "model.language_model.norm.weight"
              ? { ...tensor, data: new Uint8Array(2 * 64).fill(0xff) } // NaN
              : tensor,
          ),
      }),
    );
    const files = [clip("a.wav"), clip("b.wav")];
    const run = await cli(["transcribe", "--batch", "2", "--model", damaged.path, ...files]);
    damaged.remove();
    expect(run).toMatchObject({ code: 1, signal: null, stdout: "" });
    expect(errorLines(run).map((line) => line.replace(/(decode: ).*/, "$1"))).toEqual(
      files.map((file) => `error: ${file}: decode: `),
    );
  });

  it("says where a checkpoint's chat template is not used", async () => {
    const files = await tinyFiles({ seed: 5 });
    files.set("chat_template.jinja", new TextEncoder().encode("hello"));
    const plain = writeDirectory(files);
    const run = await cli(["transcribe", "--max-tokens", "4", "--model", plain.path, clip("a.wav")]);
    plain.remove();
    expect(run.code).toBe(0);
    expect(run.stderr.match(/^prompt: FunASR's own; the template renders audio as "hello"$/gm)).toHaveLength(
      1,
    );
  });

  it("--debug adds the stack", async () => {
    const run = await transcribe(["empty.wav"], "--debug");
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/^\s+at /m);
  });

  it("an adapter that is not there is named, with those that are", async () => {
    for (const args of [["transcribe", "--model", model.path, clip("a.wav")], ["devices"]]) {
      expect(expectRefusal(await cli(args, { FUNASR_WEBGPU_ADAPTER: "bogus" }))).toMatch(
        /^error: adapter "bogus": expected a part of .+, got none of that name; unset FUNASR_WEBGPU_ADAPTER$/,
      );
    }
  });

  it("without an adapter names the variable that hides it", async () => {
    const none = {
      VK_DRIVER_FILES: "/nonexistent",
      VK_ICD_FILENAMES: "/nonexistent",
      FUNASR_WEBGPU_ADAPTER: "",
    };
    for (const args of [["transcribe", "--model", model.path, clip("a.wav")], ["devices"]]) {
      expect(expectRefusal(await cli(args, none))).toMatch(
        /no WebGPU adapter found: VK_DRIVER_FILES limits Vulkan to \/nonexistent; unset it$/,
      );
    }
  });
});

// Plan: a good bundle is exit 0 and one JSON object per stage; a damaged one, a wrong one and a
// missing one are not.
describe("verify", () => {
  const keys = [
    "bundle",
    "file",
    "stage",
    "shape",
    "error",
    "torchError",
    "ratio",
    "maxAbs",
    "cosine",
    "ok",
    "kind",
    "machine",
  ].sort();
  const machine = Object.fromEntries(
    ["adapter", "driver", "processor"].map((part) => [part, expect.any(String) as string]),
  );

  it("a good bundle", async () => {
    const run = await cli(["verify", "--json", bundlePath("encoder-weights")]);
    expect(run).toMatchObject({ code: 0, signal: null });
    const results = jsonLines(run);
    expect(results).toHaveLength(5);
    for (const result of results) {
      expect(Object.keys(result).sort()).toEqual(keys);
      expect(result).toMatchObject({ bundle: "encoder-weights", kind: "encoder", ok: true, machine });
    }
  });

  it("prints a table with the verdict of each stage", async () => {
    const run = await cli(["verify", bundlePath("llm-one-token")]);
    expect(run.code).toBe(0);
    const lines = run.stdout.trim().split("\n");
    expect(lines[0]).toMatch(/^machine: adapter .+, driver .+, processor .+$/);
    expect(lines[1]).toMatch(/^bundle +stage +shape +error/);
    expect(lines.slice(2).map((line) => /ok$/.test(line))).toEqual([true, true, true, true, true]);
  });

  it("a changed weight, a damaged file and a missing one; the good bundle beside them is still compared", async () => {
    const parts = await bundleParts("encoder-weights");
    floatsOf(parts, "weights.model.audio_tower.layers.1.mlp.fc2.bias").fill(0.25);
    parts.metadata.set("case", "changed");
    const whole = await bundleBytes(await bundleParts("encoder-1"));
    const folder = writeDirectory(
      new Map([
        ["changed.safetensors", await bundleBytes(parts)],
        ["cut.safetensors", whole.subarray(0, whole.length - 100)],
      ]),
    );
    const at = (name: string): string => join(folder.path, name);
    const run = await cli([
      "verify",
      at("changed.safetensors"),
      at("cut.safetensors"),
      at("none"),
      bundlePath("encoder-1"),
    ]);
    folder.remove();
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(run.stdout).toMatch(/changed +encoder\.layers\.0 .*FAIL/);
    expect(run.stdout).toMatch(
      /changed: first divergence at encoder\.layers\.0, last agreeing stage encoder\.stem/,
    );
    expect(run.stdout).toMatch(/encoder-1 +encoder\.output .*ok/);
    expect(errorLines(run)).toHaveLength(2);
    expect(errorLines(run)[0]).toContain(at("cut.safetensors"));
    expect(errorLines(run)[1]).toContain(at("none"));
  });

  it("a model that does not fit the bundle", async () => {
    const run = await cli(["verify", "--model", model.path, bundlePath("encoder-weights")]);
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(errorLines(run).length + (run.stdout.match(/FAIL/g)?.length ?? 0)).toBeGreaterThan(0);
  });
});

// Plan: counts come from the files and equal a count of our own; adapters have names and limits.
describe("inspect and devices", () => {
  it("inspect --json counts the files", async () => {
    const [result] = jsonLines(await cli(["inspect", "--json", "--tensors", model.path]));
    const shapes = [...expectedTensors(tinyConfig())];
    const parameters = shapes.reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(result).toMatchObject({ model: model.path, parameters, bytes: 2 * parameters });
    expect(result.audioTokenRule).toBe("all");
    const parts = result.parts as { name: string; tensors: number; parameters: number; bytes: number }[];
    expect(parts.map(({ name }) => name)).toEqual(["encoder", "adaptor", "embedding", "LLM layers", "head"]);
    expect(parts.reduce((sum, part) => sum + part.parameters, 0)).toBe(parameters);
    expect(parts.reduce((sum, part) => sum + part.tensors, 0)).toBe(shapes.length);
    expect(parts.at(-1)).toMatchObject({ tensors: 0, parameters: 0, bytes: 0 }); // tied
    expect((result.tensors as { name: string }[]).map(({ name }) => name).sort()).toEqual(
      shapes.map(([name]) => name).sort(),
    );
  });

  it("inspect prints every component", async () => {
    const { code, stdout } = await cli(["inspect", model.path]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/SAN-M, 560 → 32, 1 \+ 2 \+ 2 layers/);
    expect(stdout).toMatch(/Qwen3, width 64, 3 layers, 4 heads of 24, 2 KV heads/);
  });

  it("devices --json", async () => {
    const run = await cli(["devices", "--json"]);
    expect(run.code).toBe(0);
    const devices = jsonLines(run);
    expect(devices.length).toBeGreaterThan(0);
    for (const device of devices) {
      expect(Object.keys(device)).toEqual([
        "vendor",
        "architecture",
        "device",
        "description",
        "software",
        "features",
        "limits",
      ]);
      const { maxBufferSize } = device.limits as Record<string, number>;
      expect(maxBufferSize).toBeGreaterThanOrEqual(256 << 20);
    }
  });
});

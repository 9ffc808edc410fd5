import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { safetensorsBytes } from "../src/checkpoint/safetensors/write.js";
import { cli, expectRefusal, jsonLines } from "./helpers/cli.js";
import { tinyFiles, tinyTensors, writeDirectory } from "./helpers/tiny-model.js";
import { wav } from "./helpers/wav.js";

type Files = Map<string, Uint8Array | string>;

let tiny: Files;
let model: ReturnType<typeof writeDirectory>;
let clip: string;

beforeAll(async () => {
  tiny = await tinyFiles({ seed: 5 });
  model = writeDirectory(new Map([...tiny, ["clip.wav", wav(0.4, 1)]]));
  clip = join(model.path, "clip.wav");
});
afterAll(() => model.remove());

/** The tiny checkpoint in two shards. */
async function sharded(edit: (files: Files) => unknown): Promise<Files> {
  const tensors = tinyTensors({ seed: 5 });
  const half = tensors.length >> 1;
  const names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const files = new Map(tiny);
  files.delete("model.safetensors");
  files.set(names[0], await safetensorsBytes(tensors.slice(0, half)));
  files.set(names[1], await safetensorsBytes(tensors.slice(half)));
  const weight_map = Object.fromEntries(tensors.map(({ name }, i) => [name, names[i < half ? 0 : 1]]));
  files.set("model.safetensors.index.json", JSON.stringify({ metadata: {}, weight_map }));
  edit(files);
  return files;
}

const config = (edit: (json: Record<string, Record<string, unknown>>) => unknown) => (): Files => {
  const json = JSON.parse(new TextDecoder().decode(tiny.get("config.json") as Uint8Array)) as Record<
    string,
    Record<string, unknown>
  >;
  edit(json);
  return new Map([...tiny, ["config.json", JSON.stringify(json)]]);
};
const cut = (name: string, keep: number) => (files: Files) =>
  files.set(name, (files.get(name) as Uint8Array).slice(0, keep));
const weights = async (edit: Parameters<typeof tinyFiles>[0]): Promise<Files> =>
  tinyFiles({ seed: 5, ...edit });
/** The tokenizer with another vocabulary or other merges. */
const tokenizer =
  (edit: (model: { vocab: Record<string, number>; merges: unknown[] }) => void) => (): Files => {
    const json = JSON.parse(new TextDecoder().decode(tiny.get("tokenizer.json") as Uint8Array)) as {
      model: { vocab: Record<string, number>; merges: unknown[] };
    };
    edit(json.model);
    return new Map([...tiny, ["tokenizer.json", JSON.stringify(json)]]);
  };
const replace = (name: string, data: string) => (): Files => new Map([...tiny, [name, data]]);
const firstShard = "model-00001-of-00002.safetensors";

const broken: readonly [string, () => Files | Promise<Files>, RegExp][] = [
  ["no config", () => new Map([...tiny].filter(([name]) => name !== "config.json")), /config\.json: expected/],
  ["no weights", () => new Map([...tiny].filter(([name]) => name !== "model.safetensors")), /model\.safetensors/],
  ["a config that is no JSON", replace("config.json", "{"), /config\.json: content/],
  ["a config without a field", config((c) => delete c.audio_config.hidden_size), /config\.json: audio_config\.hidden_size: expected .*, got nothing/],
  ["a config with a wrong type", config((c) => (c.text_config.num_hidden_layers = "3")), /config\.json: text_config\.num_hidden_layers: expected .*, got "3"/],
  ["a config of other sizes", config((c) => (c.text_config.intermediate_size = 128)), /tensor "model\.language_model\.layers\.0\.mlp\.\w+_proj\.weight": expected .*128.*, got .*96.*9 of another shape/],
  ["a missing tensor", () => weights({ edit: (t) => t.filter(({ name }) => !name.endsWith("layers.2.mlp.fc1.bias")) }), /tensor "model\.audio_tower\.layers\.2\.mlp\.fc1\.bias": expected a tensor of that name, got none/],
  ["a left-over tensor", () => weights({ edit: (t) => [...t, { ...t[0], name: "model.extra.weight" }] }), /model\.extra\.weight/],
  ["a file cut short", () => { const f = new Map(tiny); cut("model.safetensors", 20_000)(f); return f; }, /model\.safetensors: .*expected .*, got/],
  ["a header cut short", () => { const f = new Map(tiny); cut("model.safetensors", 100)(f); return f; }, /model\.safetensors: .*expected .*, got/],
  ["an empty weights file", replace("model.safetensors", ""), /model\.safetensors: .*expected .*, got/],
  ["a missing shard", () => sharded((f) => f.delete(firstShard)), /model-00001-of-00002\.safetensors: expected .*, got no such file/],
  ["a shard cut short", () => sharded(cut(firstShard, 30_000)), /model-00001-of-00002\.safetensors: .*expected .*, got/],
  ["an index that is no JSON", () => sharded((f) => f.set("model.safetensors.index.json", "[")), /model\.safetensors\.index\.json: content/],
]; // prettier-ignore

const brokenText: readonly [string, () => Files, RegExp][] = [
  ["no tokenizer", () => new Map([...tiny].filter(([name]) => name !== "tokenizer.json")), /tokenizer\.json: expected a file/],
  ["a tokenizer that is no JSON", replace("tokenizer.json", "{{"), /tokenizer\.json: content/],
  ["a tokenizer of another kind", replace("tokenizer.json", '{"model":{"type":"Unigram"}}'), /tokenizer\.json: model\.type: expected "BPE", got "Unigram"/],
  ["a tokenizer without a vocabulary", tokenizer((m) => (m.vocab = {})), /tokenizer\.json: model\.vocab: expected a token for each of the 256 bytes, got 0/],
  ["a tokenizer without merges", tokenizer((m) => (m.merges = [])), /tokenizer\.json: model\.merges: expected merges that make .*, got none/],
  ["a tokenizer of larger ids", tokenizer((m) => Object.keys(m.vocab).forEach((token) => (m.vocab[token] += 5000))), /tokenizer\.json: model\.vocab: expected ids below the model's vocab_size 1064, got 6031 of /],
  ["an audio token of another id", config((c) => ((c as Record<string, unknown>).audio_token_id = 7)), /config\.json: audio_token_id: expected 1035.*, got 7/],
  ["a generation config of a wrong type", replace("generation_config.json", '{"eos_token_id":"end"}'), /generation_config\.json: eos_token_id: expected token ids below 1064, got "end"/],
  ["a processor of another kind", replace("processor_config.json", '{"feature_extractor":{"feature_extractor_type":"Whisper"}}'), /processor_config\.json: feature_extractor\.feature_extractor_type: expected/],
]; // prettier-ignore

// Plan: a checkpoint damaged in any way is refused in one line that names file and field; nothing
// goes to stdout.
describe("damaged checkpoints", () => {
  const refusedBy = async (command: string[], make: () => Files | Promise<Files>): Promise<string> => {
    const folder = writeDirectory(await make());
    const line = expectRefusal(
      await cli([...command, folder.path, ...(command[0] === "transcribe" ? [clip] : [])]),
    );
    folder.remove();
    expect(line).toContain(folder.path);
    return line;
  };

  it.concurrent.each(broken)("%s", async (_, make, message) => {
    expect(await refusedBy(["inspect"], make)).toMatch(message);
  });

  it.concurrent.each(brokenText)(
    "%s: transcribe and convert refuse it, inspect reports it",
    async (_, make, message) => {
      const folder = writeDirectory(make());
      const out = `${folder.path}-out`;
      for (const args of [
        ["transcribe", "--model", folder.path, clip],
        ["convert", folder.path, out],
      ]) {
        const line = expectRefusal(await cli(args));
        expect(line).toContain(folder.path);
        expect(line).toMatch(message);
      }
      expect(existsSync(out)).toBe(false);
      const { stdout, stderr } = await cli(["inspect", folder.path]);
      folder.remove();
      expect(stdout + stderr).toMatch(
        /tokens +no tokenizer\.json|warning +transcribe refuses it: |^error: /m,
      );
      if (!stdout.includes("no tokenizer.json")) expect(stdout + stderr).toMatch(message);
    },
  );

  it.concurrent.each<[string, (path: string) => void, string]>([
    ["chat_template.jinja", (path) => execFileSync("mkfifo", [path]), "a named pipe"],
    ["chat_template.jinja", (path) => mkdirSync(path), "a directory"],
    ["chat_template.jinja", (path) => symlinkSync("gone", path), "a link to none"],
    ["generation_config.json", (path) => mkdirSync(path), "a directory"],
    ["tokenizer_config.json", (path) => execFileSync("mkfifo", [path]), "a named pipe"],
    ["model.safetensors", (path) => mkdirSync(path), "a directory"],
    ["model.safetensors", (path) => symlinkSync("gone", path), "a link to none"],
  ])("%s: %#", async (name, put, got) => {
    const folder = writeDirectory(new Map([...tiny].filter(([file]) => file !== name)));
    put(join(folder.path, name));
    const run = await cli(["transcribe", "--model", folder.path, clip]);
    folder.remove();
    expect(expectRefusal(run)).toMatch(new RegExp(`${name}: (type|link): expected a .*file, got ${got}`));
  });

  it("both commands name a missing directory", async () => {
    const none = join(model.path, "nowhere");
    expect(existsSync(none)).toBe(false);
    for (const args of [
      ["inspect", none],
      ["transcribe", "--model", none, clip],
    ]) {
      expect(expectRefusal(await cli(args))).toContain(none);
    }
  });

  it("two good shards are accepted", async () => {
    const folder = writeDirectory(await sharded(() => undefined));
    const run = await cli(["inspect", "--json", folder.path]);
    folder.remove();
    expect(run.code).toBe(0);
    expect(jsonLines(run)[0]).toMatchObject({
      bytes: jsonLines(await cli(["inspect", "--json", model.path]))[0].bytes,
    });
  });

  it("a model that the device has no memory for", async () => {
    const run = await cli(["transcribe", clip], { FUNASR_WEBGPU_MEMORY: "30000000" });
    expect(expectRefusal(run)).toMatch(
      /: out of device memory: as stored the model needs [\d.]+ MB \([\d.]+ MB of weights, .*\), [\d.]+ MB are left; no --weights fit, the smallest being q4 /,
    );
  });

  it("weights that are NaN", async () => {
    const name = "model.language_model.norm.weight";
    const files = await weights({
      edit: (tensors) =>
        tensors.map((t) => (t.name === name ? { ...t, data: new Uint8Array(128).fill(0xff) } : t)),
    });
    const folder = writeDirectory(files);
    const line = expectRefusal(await cli(["transcribe", "--model", folder.path, clip]));
    folder.remove();
    expect(line).toMatch(/decode: token 0: expected finite scores, got NaN/);
  });
});

import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { checkFile } from "./cache.js";
import { HubError } from "./errors.js";
import { isCommit, parseHubName } from "./name.js";
import { checkpointFiles } from "./select.js";
import { hubSettings } from "./settings.js";

// Plan: tables of names, of files by layout, and of the environment. No path of a listing leaves
// the cache.

describe("parseHubName", () => {
  test.each([
    ["FunAudioLLM/Fun-ASR-Nano-2512-hf", "FunAudioLLM/Fun-ASR-Nano-2512-hf", "main"],
    ["a/b@v1.0", "a/b", "v1.0"],
    ["a/b@refs/pr/1", "a/b", "refs/pr/1"],
    [`a_1/b.c@${"0".repeat(40)}`, "a_1/b.c", "0".repeat(40)],
  ])("%s", (text, repo, revision) => {
    expect(parseHubName(text)).toEqual({ repo, revision });
  });

  test.each([
    "a",
    "a/b/c",
    "/b",
    "a/",
    "./a",
    "a/..",
    "-a/b",
    "a/b-",
    "a/b.git",
    "a/b@",
    "a/b@/x",
    "a/b@x/../y",
    "a b/c",
    "a/b@x\ny",
  ])("%j is not a name", (text) => {
    expect(parseHubName(text)).toBeUndefined();
  });

  test("an accepted name makes one directory name in the cache", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-zA-Z.\-_/@~\\0-9]{0,30}$/), (text) => {
        const name = parseHubName(text);
        if (!name) return;
        expect(name.repo).toMatch(/^[\w.-]+\/[\w.-]+$/);
        expect(`${name.repo}/${name.revision}`.split("/")).not.toContain("..");
      }),
      { numRuns: 10_000 },
    );
  });
});

describe("checkpointFiles", () => {
  const beside = [
    "README.md",
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "figs/x.json",
    "pytorch_model.bin",
  ];
  const described = ["chat_template.jinja", "config.json", "tokenizer.json"];
  test.each([
    ["one file", ["model.safetensors"], ["model.safetensors"]],
    [
      "FunASR's voice activity net",
      ["model.pt", "am.mvn", "config.yaml", "configuration.json", "example/vad_example.wav"],
      ["am.mvn", "config.yaml", "configuration.json", "model.pt"],
    ],
    ["the same in GGUF", ["fsmn-vad.gguf"], ["fsmn-vad.gguf"]],
    [
      "shards, not a second copy of the weights",
      [
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "consolidated.safetensors",
      ],
      [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
      ],
    ],
    [
      "both: the one file",
      ["model.safetensors", "model.safetensors.index.json", "model-00001-of-00001.safetensors"],
      ["model.safetensors"],
    ],
    ["an unusual name", ["weights.00.safetensors"], ["weights.00.safetensors"]],
    [
      "FunASR",
      [
        "model.pt",
        "config.yaml",
        "multilingual.tiktoken",
        "example/zh.mp3",
        "Qwen3-0.6B/config.json",
        "Qwen3-0.6B/merges.txt",
        "Qwen3-0.6B/a/b.json",
      ],
      ["Qwen3-0.6B/config.json", "Qwen3-0.6B/merges.txt", "config.yaml", "model.pt", "multilingual.tiktoken"],
    ],
    [
      "a CTC head beside the weights",
      ["model-00001-of-00001.safetensors", "ctc.safetensors", "multilingual.tiktoken"],
      ["ctc.safetensors", "model-00001-of-00001.safetensors", "multilingual.tiktoken"],
    ],
    [
      "a GGUF pair of several",
      ["funasr-encoder-f16.gguf", "qwen3-0.6b-q4km.gguf", "qwen3-0.6b-q5km.gguf", "qwen3-0.6b-q8_0.gguf"],
      ["funasr-encoder-f16.gguf", "qwen3-0.6b-q8_0.gguf"],
    ],
    [
      "safetensors before FunASR and GGUF",
      ["a.gguf", "model.pt", "model.safetensors"],
      ["model.safetensors"],
    ],
    [
      "one GGUF file of several",
      ["fun-asr-nano-2512-f16.gguf", "fun-asr-nano-2512-q8_0.gguf"],
      ["fun-asr-nano-2512-f16.gguf"],
    ],
    ["an LLM in GGUF", ["Qwen3-8B-Q4_K_M.gguf"], ["Qwen3-8B-Q4_K_M.gguf"]],
  ])("%s", (_, paths, wanted) => {
    expect(checkpointFiles([...beside, ...paths], "o/n")).toEqual([...described, ...wanted].sort());
  });

  test("no checkpoint", () => {
    expect(() => checkpointFiles(["a/model.safetensors", "x\ny"], "o/n")).toThrow(
      new HubError(
        'o/n: expected a checkpoint (model.safetensors, model.pt or *.gguf), got "x\\ny"; check the name',
      ),
    );
  });
});

describe("hubSettings", () => {
  const hub = "http://127.0.0.1:8";
  const settings = (env: Record<string, string>): ReturnType<typeof hubSettings> =>
    hubSettings({ HOME: "/h/u", ...env }, hub);

  test.each([
    [{}, "/h/u/.cache/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
    [{ HF_HOME: "~/hf" }, "/h/u/hf/hub"],
    [{ HF_HOME: "$HOME/a", HF_HUB_CACHE: "" }, "/h/u/a/hub"],
    [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old" }, "/old"],
    [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "${HOME}/new" }, "/h/u/new"],
  ])("the cache with %j", async (env, directory) => {
    expect((await settings(env)).cacheDir).toBe(directory);
  });

  test("endpoint, offline, token", async () => {
    expect((await settings({})).endpoint).toBe(hub);
    expect((await settings({ HF_ENDPOINT: "http://127.0.0.1:1/mirror//" })).endpoint).toBe(
      "http://127.0.0.1:1/mirror",
    );
    await expect(settings({ HF_ENDPOINT: "ftp://x" })).rejects.toThrow("HF_ENDPOINT: expected a web address");
    for (const value of ["1", "on", "Yes", "TRUE"])
      expect((await settings({ HF_HUB_OFFLINE: value })).offline).toBe(true);
    for (const value of ["", "0", "no", "2"])
      expect((await settings({ HF_HUB_OFFLINE: value })).offline).toBe(false);
    expect((await settings({ TRANSFORMERS_OFFLINE: "1" })).offline).toBe(true);
    expect((await settings({})).token).toBeUndefined();
    expect((await settings({ HF_TOKEN: "t", HUGGING_FACE_HUB_TOKEN: "u" })).token).toEqual({
      value: "t",
      from: "HF_TOKEN",
    });
    await expect(settings({ HF_TOKEN: "a\nb" })).rejects.toThrow(
      "HF_TOKEN: expected a token of printable ASCII",
    );
  });
});

test("checkFile: accepted paths stay inside the snapshot, and names of blobs among the blobs", () => {
  const odd = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[./\\:a~]{0,8}$/),
    fc.constant("a/b.json"),
    fc.anything(),
  );
  const hash = fc.oneof(
    fc.stringMatching(/^[0-9a-f]{40}$/),
    fc.stringMatching(/^[0-9a-f]{64}$/),
    fc.anything(),
  );
  const size = fc.oneof(fc.nat(), fc.double(), fc.anything());
  let passed = 0;
  fc.assert(
    fc.property(odd, size, hash, fc.option(hash, { nil: undefined }), (path, bytes, oid, sha256) => {
      try {
        const file = checkFile({ path, size: bytes, oid, sha256 });
        passed++;
        expect(
          new URL(`file:///cache/snapshot/${file.path.split("/").map(encodeURIComponent).join("/")}`)
            .pathname,
        ).toMatch(/^\/cache\/snapshot\/./);
        expect(file.path.split(/[/\\]/)).not.toContain("..");
        expect(isCommit(file.oid) && Number.isSafeInteger(file.size) && file.size >= 0).toBe(true);
        expect(file.sha256 ?? "0".repeat(64)).toMatch(/^[0-9a-f]{64}$/);
      } catch (error) {
        if (!(error instanceof HubError)) throw error;
        expect(error.message).not.toMatch(/[\n\r]/);
      }
    }),
    { numRuns: 10_000 },
  );
  expect(passed).toBeGreaterThan(100);
});

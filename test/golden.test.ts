import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { readFloat32 } from "../src/checkpoint/safetensors/safetensors.js";
import { openFile } from "../src/node/files.js";
import { type Bundle, bundleConfig, metadataCount, openBundle } from "../src/verify/bundle.js";
import { type StageResult, medianBound, medianRatio } from "../src/verify/compare.js";
import { verifyBundle } from "../src/verify/verify.js";
import { useGpu } from "./gpu.js";

interface ManifestEntry {
  readonly name: string;
  readonly file: string;
  readonly kind: string;
  readonly bytes: number;
  readonly sha256: string;
}

const folder = new URL("../golden/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as {
  readonly bytes: number;
  readonly bundles: readonly ManifestEntry[];
};
const tensorBundles = manifest.bundles.filter(({ file }) => file.endsWith(".safetensors"));
const path = ({ file }: ManifestEntry): string => fileURLToPath(new URL(`bundles/${file}`, folder));

async function withBundle<T>(entry: ManifestEntry, use: (bundle: Bundle) => T): Promise<Awaited<T>> {
  const source = await openFile(path(entry));
  try {
    return await use(await openBundle(source));
  } finally {
    await source.close();
  }
}

// Plan: the folder holds exactly what the manifest lists, byte for byte, and at most 25 MB.
describe("manifest", () => {
  it.each(manifest.bundles)("$file has the listed size and SHA-256", (entry) => {
    const bytes = readFileSync(path(entry));
    expect(bytes.byteLength).toBe(entry.bytes);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(entry.sha256);
  });

  it("lists every file of the folder once", () => {
    const listed = manifest.bundles.map(({ file }) => file).sort();
    expect(listed).toEqual(readdirSync(new URL("bundles/", folder)).sort());
    expect(new Set(listed).size).toBe(listed.length);
  });

  it("counts at most 25 MB", () => {
    const total = manifest.bundles.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(total).toBe(manifest.bytes);
    expect(total).toBeLessThanOrEqual(25e6);
  });
});

// Plan: in both kernel families every bundle's stages agree with PyTorch: each within 1.5 times
// PyTorch's own f32 error, ids identical, and over all stages of all bundles the median ratio is at
// most 1.
describe.each([[true], [false]])("every stage, subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });
  const all: StageResult[] = [];
  const idle: number[] = [];
  afterAll(() => void all.splice(0));

  it.each(tensorBundles)("$name", async (entry) => {
    const results = await withBundle(entry, (bundle) => verifyBundle(gpu(), bundle));
    expect(results.length).toBeGreaterThan(0);
    expect(results.filter(({ ok }) => !ok)).toEqual([]);
    all.push(...results);
    const { kept, live } = gpu().bytes;
    idle.push(kept + live);
  });

  it("has a median ratio of at most 1", () => {
    expect(all.length).toBeGreaterThan(tensorBundles.length);
    expect(medianRatio(all)).toBeLessThanOrEqual(medianBound);
  });

  it("leaves no GPU memory behind", () => expect(idle.filter((bytes) => bytes !== 0)).toEqual([]));
});

interface Facts {
  readonly kind: string;
  readonly bundle: string;
  readonly has: (name: string) => boolean;
  readonly shape: (name: string) => readonly number[];
  readonly text: (key: string) => string;
  readonly count: (key: string) => number;
  readonly config: ReturnType<typeof bundleConfig> | undefined;
  readonly lengths: number;
}

function facts(entry: ManifestEntry, bundle: Bundle): Facts {
  const { tensors, metadata } = bundle.file;
  const segments = tensors.get("input.segments") ?? tensors.get("input.token_segments");
  return {
    kind: metadata.get("kind") ?? "",
    bundle: entry.name,
    has: (name) => tensors.has(name),
    shape: (name) => tensors.get(name)?.shape ?? [],
    text: (key) => metadata.get(key) ?? "",
    count: (key) => metadataCount(bundle, key, 0),
    config: metadata.has("config") && metadata.get("kind") !== "vad" ? bundleConfig(bundle) : undefined,
    lengths: (segments?.shape[0] ?? 2) - 1,
  };
}

const frontend = (f: Facts): boolean => f.kind === "frontend";
const samples = (f: Facts): number => f.shape("input.waveform")[0] ?? 0;
const rows = (f: Facts): number => f.shape("input.features")[0] ?? 0;
const fbankFrames = (f: Facts): number => f.shape("frontend.fbank")[0] ?? 0;
const adaptorHeadDim = (f: Facts): number => f.config!.adaptor.hiddenSize / f.config!.adaptor.heads;
const group = (f: Facts): number => f.config!.llm.heads / f.config!.llm.kvHeads;
const whole = (f: Facts): boolean => f.kind === "model" && f.has("generated_ids") && f.has("encoder.stem");
const said = (f: Facts, words: string): boolean => whole(f) && f.text("prompts").includes(words);
const training = (f: Facts): boolean => f.kind === "train";
const tuned = (f: Facts): string => (training(f) ? (JSON.parse(f.text("tune")) as string[]).join(",") : "");
const widths = (f: Facts): number => f.config!.llm.hiddenSize / f.config!.encoder.hiddenSize;

const required: readonly [name: string, test: (f: Facts) => boolean][] = [
  ["CTC head, packed", (f) => f.kind === "ctc" && f.lengths >= 3],
  [
    "CTC head, real width, 5 blocks",
    (f) => f.kind === "ctc" && f.has("ctc.blocks.4") && f.shape("ctc.blocks.4")[1] === 512,
  ],
  ["CTC head, real vocabulary", (f) => f.kind === "ctc" && f.shape("ctc.logits")[1] === 60_515],
  ["front-end, 1 s", (f) => frontend(f) && samples(f) === 16_000],
  ["front-end, 2 s", (f) => frontend(f) && samples(f) === 32_000],
  ["front-end, 8 s", (f) => frontend(f) && samples(f) === 128_000],
  ...[8_000, 22_050, 44_100, 48_000].map((rate): [string, (f: Facts) => boolean] => [
    `front-end, ${rate} Hz`,
    (f) => frontend(f) && f.count("source_rate") === rate && f.has("frontend.resampled"),
  ]),
  ["front-end, stereo", (f) => frontend(f) && f.shape("input.source")[0] === 2],
  ["front-end, the log floor", (f) => frontend(f) && Number(f.text("floored_share")) > 0.1],
  ["front-end, T a multiple of 6", (f) => frontend(f) && fbankFrames(f) % 6 === 0 && f.has("frontend.fbank")],
  ["front-end, T not a multiple of 6", (f) => frontend(f) && fbankFrames(f) % 6 !== 0],
  ["encoder, one row", (f) => f.kind === "encoder" && rows(f) === 1],
  ["encoder, 31 rows", (f) => f.kind === "encoder" && rows(f) === 31],
  ["encoder, 131 rows", (f) => f.kind === "encoder" && rows(f) === 131],
  ["encoder, packed", (f) => f.kind === "encoder" && f.lengths >= 3],
  ["encoder, FunASR's class", (f) => f.kind === "encoder" && f.text("upstream") === "funasr"],
  ["encoder, real width", (f) => f.kind === "encoder" && f.config?.encoder.hiddenSize === 512],
  ...[128, 256, 320, 512].map((dim): [string, (f: Facts) => boolean] => [
    `adaptor, head_dim ${dim}`,
    (f) => f.kind === "adaptor" && adaptorHeadDim(f) === dim && f.has("adaptor.blocks.0"),
  ]),
  ["adaptor, FunASR's class", (f) => f.kind === "adaptor" && f.text("upstream") === "funasr"],
  ...[1024, 4096].flatMap((width): [string, (f: Facts) => boolean][] => [
    [
      `adaptor, real widths to ${width}`,
      (f) =>
        f.kind === "adaptor" &&
        f.config!.adaptor.hiddenSize === width &&
        f.config!.adaptor.projectorHiddenSize === 2048 &&
        f.config!.encoder.hiddenSize === 512,
    ],
    [
      `LLM, real width ${width}`,
      (f) => f.kind === "llm" && f.config!.llm.hiddenSize === width && f.config!.llm.headDim === 128,
    ],
  ]),
  ...[1, 2, 4].map((ratio): [string, (f: Facts) => boolean] => [
    `LLM, GQA ${ratio}, prefill then 16 cached steps`,
    (f) => f.kind === "llm" && group(f) === ratio && f.count("cached_steps") === 16,
  ]),
  ["LLM, tied head", (f) => f.kind === "llm" && f.config!.llm.tiedHead],
  ["LLM, untied head", (f) => f.kind === "llm" && !f.config!.llm.tiedHead],
  [
    "LLM, YaRN, cached steps past the original context",
    (f) =>
      f.kind === "llm" &&
      f.count("cached_steps") === 16 &&
      (f.config!.llm.ropeScaling?.originalMaxPositions ?? Infinity) < f.shape("input.token_ids")[0] - 16,
  ],
  ["LLM, packed", (f) => f.kind === "llm" && f.lengths >= 2],
  ["model, every row", (f) => whole(f) && f.text("audio_token_rule") === "all"],
  ["model, low frame rate", (f) => whole(f) && f.text("audio_token_rule") === "low_frame_rate"],
  ["model, from the waveform", (f) => whole(f) && f.has("input.waveform")],
  ["model, packed", (f) => whole(f) && f.lengths >= 2],
  ["model, English prompt", (f) => said(f, "语音转写成英文")],
  ["model, Chinese prompt", (f) => said(f, "语音转写成中文")],
  [
    "model, Fun-ASR-MLT-Nano's config",
    (f) =>
      said(f, "语音转写成泰语：") &&
      said(f, "语音转写成葡萄牙语：") &&
      f.text("audio_token_rule") === "all" &&
      f.config!.adaptor.layerNormEps === 1e-12,
  ],
  ["model, hotwords", (f) => said(f, "热词列表")],
  ...["adaptor", "lora", "encoder"].map((part): [string, (f: Facts) => boolean] => [
    `training, ${part} alone`,
    (f) => tuned(f) === part,
  ]),
  [
    "training, all parts, ten AdamW steps",
    (f) => tuned(f) === "adaptor,lora,encoder" && f.shape("losses")[0] === 10,
  ],
  [
    "training, LoRA r 16 on q_proj and v_proj",
    (f) => f.text("lora") === '{"alpha": 32, "rank": 16, "targets": ["q_proj", "v_proj"]}',
  ],
  [
    "training, three clips packed, GQA 4, label smoothing",
    (f) => training(f) && f.lengths === 3 && group(f) === 4 && f.text("label_smoothing") === "0.1",
  ],
  ["training, an LLM four times as wide as the encoder", (f) => training(f) && widths(f) === 4],
  ["training, an LLM narrower than the encoder", (f) => training(f) && widths(f) < 1],
  ["voice activity, packed", (f) => f.kind === "vad" && f.lengths >= 3],
  [
    "voice activity, the released widths from the waveform",
    (f) => f.kind === "vad" && samples(f) > 0 && f.shape("vad.blocks.3.output")[1] === 250,
  ],
  ["model, 32 greedy ids a clip", (f) => whole(f) && f.shape("generated_ids")[0] === 32 * f.lengths],
];

// Plan: every case that the contract asks for is among the committed bundles, by their shapes and
// metadata.
describe("the list of cases", () => {
  it.each(required)("%s", async (_, test) => {
    const found: string[] = [];
    for (const entry of tensorBundles) {
      if (await withBundle(entry, (bundle) => test(facts(entry, bundle)))) found.push(entry.name);
    }
    expect(found).not.toEqual([]);
  });

  it("model cases all generate 32 ids a clip", async () => {
    for (const entry of tensorBundles.filter(({ kind }) => kind === "model")) {
      const [ids, clips, steps] = await withBundle(entry, (bundle) => {
        const f = facts(entry, bundle);
        return [f.shape("generated_ids")[0], f.lengths, f.count("generate")];
      });
      expect([entry.name, ids, steps]).toEqual([entry.name, 32 * clips, 32]);
    }
  });

  it("front-end, 24-bit samples", async () => {
    const entry = tensorBundles.find(({ name }) => name.includes("24bit"))!;
    const source = await withBundle(entry, ({ file }) => readFloat32(file, "input.source"));
    const integers = Array.from(source, (sample) => sample * 2 ** 23);
    expect(integers.every(Number.isInteger)).toBe(true);
    expect(integers.some((sample) => sample % 256 !== 0)).toBe(true); // 16 bits would not hold them
  });

  it("200 strings of the tokenizer", () => {
    const entry = manifest.bundles.find(({ kind }) => kind === "tokenizer")!;
    const { strings } = JSON.parse(readFileSync(path(entry), "utf8")) as { strings: unknown[] };
    expect(strings.length).toBeGreaterThanOrEqual(200);
  });
});

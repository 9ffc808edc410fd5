import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseFrontendConfig } from "./config.js";
import { fbank } from "./fbank.js";
import { extractFeatures, toWaveform } from "./features.js";
import { relativeRms } from "../../test/helpers/frontend.js";

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

interface Bundle {
  metadata: Record<string, string>;
  tensors: Map<string, { shape: number[]; data: Float32Array | Float64Array }>;
}

const FOLDER = new URL("../../golden/bundles/", import.meta.url);

/** Float tensors and metadata of a committed safetensors file. */
function readBundle(name: string): Bundle {
  const bytes = new Uint8Array(readFileSync(new URL(name, FOLDER)));
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<string, Entry>;
  const { __metadata__: metadata, ...entries } = header as unknown as Record<string, Entry> & {
    __metadata__: Bundle["metadata"];
  };
  const tensors: Bundle["tensors"] = new Map();
  for (const [key, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    const raw = bytes.slice(8 + length + data_offsets[0], 8 + length + data_offsets[1]).buffer;
    if (dtype === "F32") tensors.set(key, { shape, data: new Float32Array(raw) });
    if (dtype === "F64") tensors.set(key, { shape, data: new Float64Array(raw) });
  }
  return { metadata, tensors };
}

/** Our value of every stage that a front-end bundle can hold. */
function compute({ metadata, tensors }: Bundle): Map<string, Float32Array> {
  const config = parseFrontendConfig(JSON.parse(metadata.frontend), "bundle");
  const source = tensors.get("input.source");
  const stages = new Map<string, Float32Array>();
  let waveform = tensors.get("input.waveform")?.data as Float32Array | undefined;
  if (source) {
    const [count, n] = source.shape;
    const channels = Array.from(
      { length: count },
      (_, c) => source.data.slice(c * n, (c + 1) * n) as Float32Array,
    );
    waveform = toWaveform({ channels, sampleRate: Number(metadata.source_rate) }, config.samplingRate);
    stages.set("frontend.resampled", waveform);
  }
  stages.set("frontend.fbank", fbank(waveform!, config).data);
  stages.set("input.features", extractFeatures(waveform!, config).data);
  return stages;
}

// Plan: on every committed front-end bundle, each stage is within 1.5 times PyTorch's own f32 error
// against f64 (an error of PyTorch below 1e-7 counts as 1e-7).
describe("golden front-end bundles", () => {
  const names = readdirSync(FOLDER).filter((name) => /^frontend.*\.safetensors$/.test(name));
  it("are there", () => expect(names.length).toBeGreaterThan(0));

  it.each(names)("%s", (name) => {
    const bundle = readBundle(name);
    const ours = compute(bundle);
    const stages = [...bundle.tensors.keys()].filter((key) => bundle.tensors.has(`f64.${key}`));
    expect(stages.length).toBeGreaterThan(0);
    for (const stage of stages) {
      const truth = bundle.tensors.get(`f64.${stage}`)!.data;
      const torchError = relativeRms(bundle.tensors.get(stage)!.data, truth);
      const got = ours.get(stage)!;
      expect(got.length, stage).toBe(truth.length);
      const error = relativeRms(got, truth);
      expect(error, stage).toBeLessThanOrEqual(1.5 * Math.max(torchError, 1e-7));
    }
  });
});

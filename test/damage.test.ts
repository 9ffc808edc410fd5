import { expect, test } from "vitest";
import type { WriteTensor } from "../src/checkpoint/safetensors/write.js";
import { DecodeError } from "../src/decode/loop.js";
import { Transcriber } from "../src/decode/transcriber.js";
import { useGpu } from "./gpu.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

// Damaged weights are reported, wherever the NaN begins: no stage before the scores may hide it.
// And a long-lived process gets clips of ever new lengths, whose bind groups must not pile up.
const gpu = useGpu();

/** The parameters with one of them all NaN. */
function spoil(name: string): (tensors: WriteTensor[]) => WriteTensor[] {
  return (tensors) => {
    expect(tensors.some((tensor) => tensor.name === name)).toBe(true);
    return tensors.map((tensor) =>
      tensor.name === name
        ? { ...tensor, data: () => new Uint8Array(byteLength(tensor)).fill(0xff) }
        : tensor,
    );
  };
}

function byteLength({ shape, dtype }: WriteTensor): number {
  return shape.reduce((a, b) => a * b, 1) * (dtype === "F32" ? 4 : 2);
}

test.each([
  "model.audio_tower.layers.0.self_attn.v_proj.bias",
  "model.audio_tower.layers.2.mlp.fc1.bias", // its ReLU must not hide it
  "model.audio_tower.layers.4.final_layernorm.bias",
  "model.multi_modal_projector.linear_1.bias", // nor this one's
  "model.language_model.layers.0.mlp.gate_proj.weight",
  "model.language_model.norm.weight",
])("NaN in %s", async (name) => {
  const transcriber = await Transcriber.load(gpu(), await tinyModel({ edit: spoil(name) }));
  const clip = transcriber.prepare(noiseClip(1, 1), "noise");
  await expect(transcriber.transcribe([clip])).rejects.toThrow(DecodeError);
  transcriber.free();
  expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
});

test("clips of 60 lengths, and then of 60 others: the bind groups do not pile up", async () => {
  const transcriber = await Transcriber.load(gpu(), await tinyModel());
  const run = async (seconds: number): Promise<void> => {
    const clip = transcriber.prepare(noiseClip(seconds, 1), "noise");
    await transcriber.transcribe([clip], { maxNewTokens: 2 });
  };
  for (let i = 0; i < 60; i++) await run(0.5 + 0.12 * i);
  const first = gpu().cached;
  for (let i = 0; i < 60; i++) await run(0.56 + 0.12 * i);
  const second = gpu().cached;
  expect(second.bindGroups).toBeLessThanOrEqual(first.bindGroups * 1.05);
  expect(second.keys).toBeLessThanOrEqual(first.keys * 1.05);
  transcriber.free();
});

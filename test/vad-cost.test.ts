import { expect, test } from "vitest";
import { countingGpu } from "../src/gpu/counting.js";
import type { Gpu } from "../src/gpu/device.js";
import { Timing } from "../src/gpu/timing.js";
import { costOf } from "../src/kernels/cost.js";
import { fsmnVad, loadFsmnVad } from "../src/model/fsmn-vad.js";
import { encode, loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import { sizeConfig } from "../src/train/plan-sizes.js";
import { shapeSource } from "../src/weights/shapes.js";
import { releasedVad, vadWeights } from "./helpers/vad.js";

// Plan: the released voice activity net beside the released encoder, on a minute of audio.
test("voice activity detection of a minute takes at most 1 % of the encoder's FLOPs", async () => {
  const flops = async (work: (g: Gpu) => Promise<unknown>): Promise<number> => {
    const g = countingGpu({ subgroupSize: 8 });
    const timing = (g.timing = new Timing(g.device));
    await work(g);
    const { dispatches } = await timing.collect();
    return dispatches.reduce(
      (sum, { kernel, dispatch, contents }) => sum + (costOf(kernel.name, dispatch, contents).flops ?? NaN),
      0,
    );
  };
  const released = sizeConfig("0.6B");
  const frames = 6000; // 60 s
  const vad = await flops(async (g) => {
    const net = await loadFsmnVad(g, releasedVad, vadWeights(releasedVad));
    const x = new Float32Array(frames * 400);
    await g.step(() => [fsmnVad(g, net, g.upload(x, [frames, 400]), [frames])]);
  });
  const encoder = await flops(async (g) => {
    const model = await loadFunAsrNano(g, released, shapeSource(released));
    const rows = frames / 6;
    const features = new Float32Array(rows * released.encoder.inputSize);
    await g.step(() => [encode(g, model, { features, frames: [rows] })]);
  });
  expect(vad / frames).toBeGreaterThan(2 * 428_738); // two a weight and frame at least
  expect(vad / encoder).toBeLessThan(0.01);
});

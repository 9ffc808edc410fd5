import { expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import type { Tensor } from "../gpu/tensor.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import type { Tap } from "../model/taps.js";
import { explainNonFinite } from "./diagnose.js";
import type { Optimiser } from "./optimiser.js";
import type { MicroBatch } from "./stages.js";

// What is named: the first stage that is not finite, else the gradient, else the norm of all, else
// the loss that the CPU made.
const gpu = useGpu();
const values = (...list: number[]): Tensor => gpu().upload(Float32Array.from(list), [list.length]);

test.each([
  ["numbers", "the second", [1, NaN], [1, NaN, 1]],
  ["gradients", "that of b", [1, 2], [1, NaN, Infinity]],
  ["gradients", "that of all together", [1, 2], [3e38, 3e38, 1]], // their norm alone passes f32
  ["numbers", "the alignment's loss", [1, 2], [1, 2, 0]],
])("%s: %s", async (what, place, second, squares) => {
  const tapped = (_gpu: unknown, _model: unknown, _batch: unknown, tap: Tap): void => {
    tap("the first", values(1, 2));
    tap("the second", values(...second));
    tap("the third", values(...second));
  };
  const optimiser = { entries: ["a", "b", "c"].map((name) => ({ name })) } as unknown as Optimiser;
  const stage = { tapped, rateOption: "--align-lr", loss: "alignment" } as const;
  const parts = { gpu: gpu(), model: {} as FunAsrNano, optimiser };
  const { message } = await explainNonFinite(parts, stage, 3, [{} as MicroBatch], squares);
  expect(message).toBe(
    `step 3: expected finite ${what}, got some that are not in ${place}; lower --align-lr or --clip, or check the data; the saved state is the last good one`,
  );
});

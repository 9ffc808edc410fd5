import { describe, expect, test } from "vitest";
import { realConfig } from "../../test/helpers/checkpoint.js";
import { countParameters } from "./expected-tensors.js";
import { finalNormLayers } from "./model-config.js";

// Plan: countParameters equals torch's count.

describe("countParameters", () => {
  // torch's count over FunAsrNanoForConditionalGeneration of transformers 5.23 on the meta device
  test.each([
    ["0.6B", 221136992, 12604928, 596049920, 0],
    ["1.7B", 221136992, 43033600, 1720574976, 0],
    ["4B", 221136992, 65325824, 4022468096, 0],
    ["8B", 221136992, 160514048, 7568405504, 622329856],
  ] as const)("%s: what torch counts", (size, encoder, adaptor, llm, head) => {
    expect(countParameters(realConfig(size))).toEqual({ encoder, adaptor, llm, head });
  });
});

test("finalNormLayers: the last layer of each kind", () => {
  const { encoder } = realConfig("0.6B");
  expect(finalNormLayers(encoder)).toEqual([49, 69]);
  expect(finalNormLayers({ ...encoder, tpLayers: 0 })).toEqual([49]);
});

import { describe, expect, it } from "vitest";
import { TrainError } from "./errors.js";
import { parseLoraTargets, projectionName } from "./lora.js";
import { isTuned, parseTune } from "./tune.js";

// Plan: parts and LoRA targets in their own order, each once; unknown and empty ones refused; which
// parameters belong to a part.
describe("parseTune", () => {
  it.each([
    ["adaptor", ["adaptor"]],
    ["encoder, adaptor,adaptor", ["adaptor", "encoder"]],
    ["encoder,lora,adaptor", ["adaptor", "lora", "encoder"]],
  ])("%s", (text, want) => expect(parseTune(text)).toEqual(want));

  it.each([
    ["", '""'],
    ["adaptor,llm", '"llm"'],
    ["adaptor,", '""'],
  ])("refuses %j", (text, got) =>
    expect(() => parseTune(text)).toThrow(
      new TrainError(`--tune: expected some of adaptor, lora, encoder, got ${got}`),
    ),
  );
});

it("isTuned finds the parameters of the parts", () => {
  const names = [
    "model.multi_modal_projector.linear_1.weight",
    "model.audio_tower.layers.0.self_attn.q_proj.weight",
    "model.language_model.layers.0.self_attn.q_proj.weight",
    "lm_head.weight",
  ];
  const of = (text: string): boolean[] => names.map(isTuned(parseTune(text)));
  expect(of("adaptor")).toEqual([true, false, false, false]);
  expect(of("encoder")).toEqual([false, true, false, false]);
  expect(of("lora")).toEqual([false, false, false, false]);
  expect(of("adaptor,encoder,lora")).toEqual([true, true, false, false]);
});

describe("parseLoraTargets", () => {
  it("takes names in any order", () => {
    expect(parseLoraTargets("v_proj, q_proj")).toEqual(["q_proj", "v_proj"]);
    expect(projectionName(3, "down_proj")).toBe("model.language_model.layers.3.mlp.down_proj");
  });

  it.each(["", "q_proj,lm_head", "toString"])("refuses %j", (text) =>
    expect(() => parseLoraTargets(text)).toThrow(TrainError),
  );
});

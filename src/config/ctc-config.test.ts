import { describe, expect, it } from "vitest";
import { CheckpointError } from "../formats/errors.js";
import { type CtcConfig, type CtcSettings, ctcTensors, readCtcConfig } from "./ctc-config.js";

const released: CtcConfig = {
  encoderSize: 512,
  projectorHiddenSize: 2048,
  hiddenSize: 512,
  heads: 8,
  intermediateSize: 128,
  layers: 5,
  layerNormEps: 1e-12,
  vocabSize: 60_515,
  blankId: 60_514,
};

type Shapes = Map<string, readonly number[]>;

function shapes(config = released): Shapes {
  return new Map(ctcTensors(config).map(({ source, shape }) => [source, shape]));
}

function changed(change: (s: Shapes) => void): Shapes {
  const s = shapes();
  change(s);
  return s;
}

// Plan: the released head's sizes from its 86 shapes; what is missing, left over or of another
// shape, by name.
describe("readCtcConfig", () => {
  it("reads the released head's sizes off its 86 tensors", () => {
    expect(shapes().size).toBe(86);
    expect(readCtcConfig(shapes(), 512, {}, "m")).toEqual(released);
  });

  it("takes what the config says before the defaults", () => {
    const settings = { heads: 4, layers: 5, blankId: 0 };
    expect(readCtcConfig(shapes(), 512, settings, "m")).toEqual({ ...released, heads: 4, blankId: 0 });
  });

  it("reads a head without blocks", () => {
    const none = { ...released, layers: 0, intermediateSize: 0 };
    expect(readCtcConfig(shapes(none), 512, {}, "m")).toEqual(none);
  });

  const drop = (name: string) => (s: Shapes) => void s.delete(name);
  it.each<[string, (s: Shapes) => void, string, CtcSettings?]>([
    ["no logits", drop("ctc.ctc_lo.weight"), '"ctc.ctc_lo.weight"'],
    [
      "no bias of the logits",
      drop("ctc.ctc_lo.bias"),
      '"ctc.ctc_lo.bias": expected a tensor of that name, got none (of 86)',
    ],
    ["no first linear", drop("ctc_decoder.linear1.weight"), '"ctc_decoder.linear1.weight"'],
    ["no norm in a block", drop("ctc_decoder.blocks.3.norm1.bias"), '"ctc_decoder.blocks.3.norm1.bias"'],
    [
      "no block in the middle",
      (s) => [...s.keys()].filter((n) => n.includes("blocks.2.")).forEach((n) => s.delete(n)),
      "none and 15 more (of 86)",
    ],
    [
      "fewer blocks than the config says",
      () => undefined,
      '"ctc_decoder.blocks.5.norm1.weight"',
      { layers: 6 },
    ],
    ["more blocks than the config says", () => undefined, '"ctc_decoder.blocks.4.', { layers: 4 }],
    [
      "another encoder's width",
      (s) => void s.set("ctc_decoder.linear1.weight", [2048, 560]),
      "expected [2048, 512], got [2048, 560]",
    ],
    [
      "a bias of another length",
      (s) => void s.set("ctc.ctc_lo.bias", [60_514]),
      "expected [60515], got [60514]",
    ],
    ["a vector for a matrix", (s) => void s.set("ctc.ctc_lo.weight", [60_515]), "expected a matrix"],
    ["a tensor too many", (s) => void s.set("ctc.other", [1]), '"ctc.other"'],
    ["heads that do not fit", () => undefined, "expected 7 heads", { heads: 7 }],
    ["a blank past the rows", () => undefined, "blank_id", { blankId: 60_515 }],
    ["blocks beyond reason", (s) => void s.set("ctc_decoder.blocks.999999.norm1.bias", [1]), "at most 100"],
  ])("refuses %s", (_, change, says, settings = {}) => {
    const read = (): unknown => readCtcConfig(changed(change), 512, settings, "m");
    expect(read).toThrow(CheckpointError);
    expect(read).toThrow(says);
  });
});

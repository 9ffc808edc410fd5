import { expect, test } from "vitest";
import { random } from "../../test/gpu.js";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { layoutBytes } from "../../test/helpers/layouts.js";
import { CheckpointError } from "../formats/errors.js";
import { parseYamlObject } from "./layouts/yaml.js";

// Whatever the text of config.yaml, a mapping comes out or a one-line refusal.

test("mutations of a config.yaml", () => {
  const runs = fuzzRuns(2_000);
  const next = random(3);
  const pick = (below: number): number => Math.floor(((next() + 1) / 2) * below) % below;
  const whole = new TextDecoder().decode(layoutBytes("nano/config.yaml"));
  const original = whole.slice(0, whole.indexOf("\n", 200));
  const pieces = [
    ...Array.from("[]{}:,-?&*!|>'\"%@`# \n\t\0"),
    "<<: *a\n",
    "&a ",
    "*a",
    "!!binary x",
    "---\n",
    "  - ",
    "? ",
  ];
  let parsed = 0;
  for (let i = 0; i < runs; i++) {
    let text = original;
    for (let n = 1 + pick(2); n > 0; n--) {
      const at = pick(text.length);
      text = text.slice(0, at) + pieces[pick(pieces.length)] + text.slice(at + pick(4));
    }
    try {
      expect(typeof parseYamlObject(text, "x")).toBe("object");
      parsed++;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      if (!/^x: content: expected [^\p{Cc}]+, got [^\p{Cc}]+$/u.test(error.message)) throw error;
    }
  }
  expect(parsed).toBeGreaterThan(runs / 20);
  expect(parsed).toBeLessThan(runs * 0.95);
});

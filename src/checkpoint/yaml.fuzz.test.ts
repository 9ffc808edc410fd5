import { expect, test } from "vitest";
import { random } from "../../test/gpu.js";
import { Outcomes, fuzzRuns } from "../../test/helpers/fuzz.js";
import { layoutBytes } from "../../test/helpers/layouts.js";
import { parseYamlObject } from "./layouts/yaml.js";

// Plan: any text of config.yaml gives a mapping, or a one-line error.

test("mutations of a config.yaml", () => {
  const runs = fuzzRuns(2_000);
  const next = random(3);
  const pick = (below: number): number => Math.floor(((next() + 1) / 2) * below) % below;
  const yaml = new TextDecoder().decode(layoutBytes("nano/config.yaml"));
  const original = yaml.slice(0, yaml.indexOf("\n", 200));
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
  const seen = new Outcomes();
  for (let i = 0; i < runs; i++) {
    let text = original;
    for (let n = 1 + pick(2); n > 0; n--) {
      const start = pick(text.length);
      text = text.slice(0, start) + pieces[pick(pieces.length)] + text.slice(start + pick(4));
    }
    try {
      expect(typeof parseYamlObject(text, "x")).toBe("object");
      seen.opened++;
    } catch (error) {
      seen.refuse(error, ({ field }) => field);
    }
  }
  expect(seen.opened).toBeGreaterThan(runs / 20);
  expect(seen.opened).toBeLessThan(runs * 0.95);
});

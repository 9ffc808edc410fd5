import { expect, test } from "vitest";
import { defaultOptions, settle } from "./options.js";

// What an option that depends on others, or on the data, comes to.
const asked = { ...defaultOptions, warmup: undefined };
const sizes = [40, 40, 40, 40, 40];
const of = (change: object): readonly [number, number] => {
  const { steps, warmup } = settle({ ...asked, ...change }, sizes);
  return [steps, warmup];
};

test.each([
  ["a tenth of the steps", { steps: 59 }, [59, 5]],
  ["of those behind the alignment", { steps: 59, align: 30 }, [59, 2]],
  ["of none", { steps: 30, align: 30 }, [30, 0]],
  ["as given", { steps: 59, align: 30, warmup: 7 }, [59, 7]],
  ["of those that the epochs make", { epochs: 10, batchTokens: 40, steps: 3 }, [50, 5]],
  [
    "accumulated, and behind the alignment",
    { epochs: 9, batchTokens: 40, accumulate: 4, align: 100 },
    [112, 1],
  ],
] as const)("warm-up: %s", (_, change, want) => expect(of(change)).toEqual(want));

test("settled options are those of the run, with nothing that asked for them", () => {
  expect(Object.keys(settle({ ...asked, epochs: 2 }, sizes)).sort()).toEqual(
    Object.keys(defaultOptions).sort(),
  );
});

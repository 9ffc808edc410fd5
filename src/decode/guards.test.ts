import { describe, expect, it } from "vitest";
import { loopStart } from "./guards.js";

const repeat = (cycle: readonly number[], times: number): number[] =>
  Array.from({ length: times }, () => cycle).flat();

const period32 = Array.from({ length: 32 }, (_, i) => i);
const counting = Array.from({ length: 200 }, (_, i) => i);

// Plan: a cycle is cut once it fills 24 tokens in 4 turns, at every period from 1 to 32; its first
// turn is kept. One token less, a longer period, or a cycle that has ended already is no loop.
describe("loopStart", () => {
  it.each([
    ["nothing", [], undefined],
    ["no repeats", counting, undefined],
    ["a token 23 times", repeat([7], 23), undefined],
    ["a token 24 times", repeat([7], 24), 1],
    ["a token 24 times after others", [1, 2, 3, ...repeat([7], 24)], 4],
    ["a pair 11 times and a half", [...repeat([7, 8], 11), 7], undefined],
    ["a pair 12 times", repeat([7, 8], 12), 2],
    ["a cycle of 6, 4 times", [9, ...repeat([1, 2, 3, 4, 5, 6], 4)], 7],
    ["a cycle of 7, 3 times and 6", [...repeat([1, 2, 3, 4, 5, 6, 7], 3), 1, 2, 3, 4, 5, 6], undefined],
    ["a cycle of 7, 4 times", repeat([1, 2, 3, 4, 5, 6, 7], 4), 7],
    ["a cycle of 32, 4 times", repeat(period32, 4), 32],
    ["a cycle of 32 less one token", repeat(period32, 4).slice(1), undefined],
    ["a cycle of 33, 5 times", repeat([...period32, 99], 5), undefined],
    ["a cycle that has ended", [...repeat([7], 23), 1], undefined],
    ["digits: three three three", [3, 3, 3, 5, 5, 5, 5, 5, 1], undefined],
  ])("%s", (_, tokens, start) => expect(loopStart(tokens)).toBe(start));

  it("finds the shortest period", () => expect(loopStart(repeat([4], 64))).toBe(1));

  it("cuts the same whatever came before", () => {
    for (let before = 0; before < 40; before++) {
      const tokens = [...counting.slice(100, 100 + before), ...repeat([1, 2, 3], 8)];
      expect(loopStart(tokens)).toBe(before + 3);
    }
  });
});

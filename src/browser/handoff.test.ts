// Plan: one gives three items and ends; every way in which the taker's loops end releases the giver, and
// another loop goes on where the one before it left.
import { describe, expect, it } from "vitest";
import { Handoff } from "./handoff.js";

const leaves = new Error("the taker leaves");
const breaks = new Error("the giver breaks");

/** Takes up to `most` items. */
async function take(items: AsyncIterable<number>, most: number): Promise<number[]> {
  const taken: number[] = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length === most) return taken;
  }
  return taken;
}

/** Gives 1, 2 and 3. @returns how that ended */
async function giveAll(items: Handoff<number>): Promise<string> {
  try {
    for (const item of [1, 2, 3]) await items.give(item);
    items.end();
    return "ended";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("a handoff", () => {
  it.each([
    ["one loop", [Infinity], [[1, 2, 3]]],
    ["a loop that returns, and another", [1, Infinity], [[1], [2, 3]]],
    ["three loops", [1, 1, Infinity], [[1], [2], [3]]],
    ["a loop that returns with the last item, and another", [3, Infinity], [[1, 2, 3], []]],
    ["two loops after the end", [Infinity, Infinity], [[1, 2, 3], []]],
  ])("gives every item once to %s", async (_, loops, want) => {
    const items = new Handoff<number>();
    const given = giveAll(items);
    const got: number[][] = [];
    for (const most of loops) got.push(await take(items, most));
    expect(got).toEqual(want);
    expect(await given).toBe("ended");
  });

  it.each([
    ["before an item", 0],
    ["in its midst", 1],
    ["with the last item", 3],
  ])("ends the giver whose taker fails %s", async (_, after) => {
    const items = new Handoff<number>();
    const given = giveAll(items);
    if (after > 0) await take(items, after);
    items.fail(leaves);
    expect(await given).toBe(after < 3 ? leaves.message : "ended");
    await expect(items.give(4)).rejects.toBe(leaves);
  });

  it("ends a taker that throws, and its giver", async () => {
    const items = new Handoff<number>();
    const given = giveAll(items);
    const thrown = async (): Promise<void> => {
      for await (const item of items) if (item === 2) throw leaves;
    };
    await expect(thrown()).rejects.toBe(leaves);
    items.fail(leaves);
    expect(await given).toBe(leaves.message);
  });

  it.each([0, 1])(
    "gives the giver's error to a taker of %i items, and to each loop after it",
    async (count) => {
      const items = new Handoff<number>();
      const taken = take(items, Infinity);
      for (let item = 0; item < count; item++) await items.give(item);
      items.break(breaks);
      await expect(taken).rejects.toBe(breaks);
      await expect(take(items, Infinity)).rejects.toBe(breaks);
    },
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { BatchStream, epochBatches } from "./batches.js";

// Any sizes: each clip once, no batch over the budget, equal arguments give equal batches; another
// seed or epoch gives others; batches are of one length where the data is large; the stream runs
// through the epochs; the refusals.
const sizesOf = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 200 });

test("each clip once, within the budget, the same every time", () => {
  fc.assert(
    fc.property(
      sizesOf,
      fc.integer({ min: 50, max: 300 }),
      fc.nat(9),
      fc.nat(),
      (sizes, budget, epoch, seed) => {
        const batches = epochBatches(sizes, epoch, { budget, seed });
        expect(batches.flat().sort((a, b) => a - b)).toEqual(sizes.map((_, i) => i));
        for (const batch of batches) {
          expect(batch.length).toBeGreaterThan(0);
          expect(batch.reduce((sum, i) => sum + sizes[i], 0)).toBeLessThanOrEqual(budget);
        }
        expect(epochBatches(sizes, epoch, { budget, seed })).toEqual(batches);
      },
    ),
  );
});

const many = Array.from({ length: 2000 }, (_, i) => 10 + ((i * 7919) % 200));

test("seed and epoch change order and company", () => {
  const options = { budget: 1000, seed: 1 };
  const first = JSON.stringify(epochBatches(many, 0, options));
  expect(JSON.stringify(epochBatches(many, 1, options))).not.toBe(first);
  expect(JSON.stringify(epochBatches(many, 0, { ...options, seed: 2 }))).not.toBe(first);
});

test("clips of a batch have like lengths, batches come in no order of length", () => {
  const batches = epochBatches(many, 0, { budget: 1000, seed: 1 });
  const spread = batches.map((batch) => {
    const sizes = batch.map((i) => many[i]);
    return Math.max(...sizes) - Math.min(...sizes);
  });
  expect(spread.reduce((a, b) => a + b, 0) / spread.length).toBeLessThan(20); // of 200; unsorted 150 and more
  const means = batches.map((batch) => many[batch[0]]);
  expect([...means].sort((a, b) => a - b)).not.toEqual(means);
});

test("the stream goes on through the epochs, whatever is asked for first", () => {
  const options = { budget: 60, seed: 3 };
  const sizes = many.slice(0, 20).map((size) => size % 50);
  const [a, b] = [epochBatches(sizes, 0, options), epochBatches(sizes, 1, options)];
  const stream = new BatchStream(sizes, options);
  expect(stream.at(a.length + 1)).toEqual({ epoch: 1, clips: b[1] });
  expect(stream.at(0)).toEqual({ epoch: 0, clips: a[0] });
  expect(stream.at(a.length - 1)).toEqual({ epoch: 0, clips: a.at(-1) });
  expect(stream.count(2)).toBe(a.length + b.length);
});

test("refusals", () => {
  expect(() => epochBatches([5, 11], 0, { budget: 10, seed: 1 })).toThrow(
    "batches: clip 2 of the data has 11 tokens, expected at most 10; raise --batch-tokens",
  );
  expect(() => new BatchStream([], { budget: 10, seed: 1 })).toThrow("expected at least 1 clip");
});

import { expect, test } from "vitest";
import { useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { addInto } from "./add-into.js";

// In place over kept tensors: sizes around the workgroup of 64 and past 65,535 workgroups, exact
// sums; the refusal.
const gpu = useGpu();

test.each([1, 63, 64, 65, 131, 65_536 * 64 + 3])("%i values, twice", async (count) => {
  const into = gpu().keep([count], "f32");
  const [a, b] = [values(count, 1), values(count, 2)];
  gpu().write(into, a as Float32Array<ArrayBuffer>);
  const [got] = await gpu().step(() => {
    const x = gpu().upload(b, [count]);
    addInto(gpu(), into, x);
    addInto(gpu(), into, x);
    return [into];
  });
  gpu().free(into);
  let wrong = 0;
  for (let i = 0; i < count; i++) if (got[i] !== Math.fround(Math.fround(a[i] + b[i]) + b[i])) wrong++;
  expect(wrong).toBe(0);
});

test("another number of values is refused", async () => {
  const failed = gpu().step(() => (addInto(gpu(), gpu().empty([4]), gpu().empty([5])), []));
  await expect(failed).rejects.toThrow(new ShapeError("addInto: x must have 4 values, got [5]"));
});

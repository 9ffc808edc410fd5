import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { gpuSizes } from "./gpu-sizes.js";
import { shapeClasses } from "./shape-classes.js";
import { allCandidates } from "./tuning.js";

// The sizes of an adapter that nobody has tuned: programs on the CPU keep the usual ones, whatever
// they are called; GPUs have classes that exist, and sizes that a tuning would try too.
const gpu = useGpu({ tuning: false });
const adapter = (names: Partial<GPUAdapterInfo>): GPUAdapterInfo =>
  ({ vendor: "", architecture: "", device: "", description: "", ...names }) as GPUAdapterInfo;

test.each<Partial<GPUAdapterInfo>>([
  { vendor: "mesa", device: "llvmpipe", description: "llvmpipe: Mesa 25.0.7 (LLVM 15.0.6)" },
  { vendor: "google", architecture: "swiftshader" },
  { vendor: "microsoft", description: "Microsoft Basic Render Driver" },
])("%j is no GPU", (names) => expect(gpuSizes(adapter(names))).toEqual({}));

test("this machine's adapter has the table's sizes", () => {
  expect(gpu().tuning).toEqual(gpuSizes(gpu().device.adapterInfo));
});

describe.each(["nvidia", "amd", "intel", "apple", "qualcomm", ""])('vendor "%s"', (vendor) => {
  test.each(Object.entries(gpuSizes(adapter({ vendor }))))("%s", (name, sizes) => {
    expect(allCandidates(shapeClasses.get(name)!)).toContainEqual(sizes);
  });
});

import { describe, expect, test } from "vitest";
import { useGpu, values } from "../../test/gpu.js";
import { requestAdapter } from "../node/device.js";
import { rmsNorm } from "../kernels/rms-norm/rms-norm.js";
import { requestGpu } from "../kernels/request-gpu.js";
import { isSoftware, pinSubgroups, subgroupFeatures, subgroupSize } from "./adapter.js";
import { Gpu } from "./device.js";

// Plan: kernels have one size of subgroups, where an adapter has one or where its size can be set;
// never one outside 4 to 64 lanes. A user's own device gets its kernels by its own features, and
// pinned kernels give the bits of the others. Drivers on the CPU are known by name.
const facts = (vendor: string, features: string[], sizes?: [number, number]) => ({
  features: new Set(features),
  info: {
    vendor,
    subgroupMinSize: sizes?.[0],
    subgroupMaxSize: sizes?.[1],
  } as unknown as GPUAdapterInfo,
});
const both = ["subgroups", "subgroup-size-control"];

test.each([
  ["llvmpipe", { device: "llvmpipe", description: "llvmpipe: Mesa 25.0.7" }, true],
  ["SwiftShader", { architecture: "swiftshader" }, true],
  ["WARP by its name", { description: "Microsoft Basic Render Driver" }, true],
  ["WARP in a browser", { architecture: "microsoft-basic-render-driver" }, true],
  ["a GPU", { vendor: "nvidia", architecture: "hopper", description: "NVIDIA H200" }, false],
])("isSoftware: %s", (_name, info, software) => {
  expect(isSoftware(info as GPUAdapterInfo)).toBe(software);
});

describe("subgroupSize", () => {
  test.each<[string, ReturnType<typeof facts>, number | undefined, string[]]>([
    ["no subgroups", facts("nvidia", [], [32, 32]), undefined, []],
    ["no sizes", facts("nvidia", ["subgroups"]), undefined, []],
    ["one size", facts("nvidia", ["subgroups"], [32, 32]), 32, ["subgroups"]],
    ["one size that can be set too", facts("apple", both, [32, 32]), 32, ["subgroups"]],
    ["a program's 4", facts("google", ["subgroups"], [4, 4]), 4, ["subgroups"]],
    ["several that nobody can set", facts("amd", ["subgroups"], [32, 64]), undefined, []],
    ["AMD's two", facts("amd", both, [32, 64]), 32, both],
    ["AMD's old ones", facts("amd", both, [64, 64]), 64, ["subgroups"]],
    ["Intel's three", facts("intel", both, [8, 32]), 16, both],
    ["Intel's two", facts("intel", both, [16, 32]), 16, both],
    ["Qualcomm's two", facts("qualcomm", both, [64, 128]), 64, both],
    ["above 64", facts("qualcomm", ["subgroups"], [128, 128]), undefined, []],
    ["below 4", facts("", ["subgroups"], [1, 1]), undefined, []],
  ])("%s", (_name, adapter, lanes, features) => {
    expect(subgroupSize(adapter)).toBe(lanes);
    expect(subgroupFeatures(adapter)).toEqual(features);
  });
});

const gpu = useGpu();
const norm = async (g: Gpu): Promise<unknown> => {
  const x = values(5 * 64, 1);
  return g.step(() => [rmsNorm(g, g.upload(x, [5, 64]), g.upload(values(64, 2), [64]))]);
};

/** A device of the user's own, and the texts that its kernels are compiled from. */
async function own(features: readonly string[]): Promise<{ device: GPUDevice; texts: string[] }> {
  const adapter = (await requestAdapter({}))!;
  const device = await adapter.requestDevice({ requiredFeatures: features as GPUFeatureName[] });
  const texts: string[] = [];
  const create = device.createShaderModule.bind(device);
  device.createShaderModule = (module) => {
    texts.push(module.code);
    return create(module);
  };
  return { device, texts };
}

describe("a device of the user's own", () => {
  test.each<[string[], RegExp]>([
    [[], /^(?!.*enable subgroups)/s],
    [["subgroups"], /^enable subgroups;/m],
    [both, /^enable subgroups, subgroup_size_control;.*^@subgroup_size\(SG\) @compute /ms],
  ])("with %j runs the kernels that they allow", async (features, text) => {
    const { device, texts } = await own(features);
    const mine = new Gpu(device);
    const got = await norm(mine);
    expect(texts).toEqual([expect.stringMatching(text)]);
    if (features.length > 0) {
      expect(mine.subgroupSize).toBe(device.adapterInfo.subgroupMinSize);
      if (mine.subgroupSize === gpu().subgroupSize) expect(got).toEqual(await norm(gpu()));
    } else expect(mine.subgroupSize).toBeUndefined();
    mine.destroy();
  });

  test("is opened with the adapter's features and limits", async () => {
    const adapter = (await requestAdapter({}))!;
    const mine = await requestGpu(adapter);
    expect(mine.subgroupSize).toBe(subgroupSize(adapter));
    expect(mine.device.limits.maxBufferSize).toBe(adapter.limits.maxBufferSize);
    const portable = await requestGpu((await requestAdapter({}))!, { subgroups: false });
    expect(portable.subgroupSize).toBeUndefined();
    for (const each of [mine, portable]) each.destroy();
  });
});

test("a kernel without subgroups is not pinned", () => {
  const text = "@compute @workgroup_size(8)\nfn main() {}";
  expect(pinSubgroups(text)).toBe(text);
});

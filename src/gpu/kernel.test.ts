import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import type { Dispatch } from "./device.js";
import { GpuError } from "./errors.js";
import { loadKernel } from "./kernel.js";

// What the loader reads off a file and what it refuses; then each way a call can fail to match its
// kernel, and a kernel that does not compile.
const gpu = useGpu();
const scalars = loadKernel("../../test/shaders/scalars");

describe("loadKernel", () => {
  test("reads bindings, parameters and overrides", () => {
    const { name, bindings, params, overrides } = loadKernel("linear/linear-grad");
    expect(name).toBe("linear/linear-grad");
    expect(bindings.map((b) => `${b.index} ${b.name} ${b.kind}`)).toEqual(
      ["1 a read", "2 w read", "3 scales read", "4 c write"], // prettier-ignore
    );
    expect(params.map((p) => p.name)).toEqual(["rows", "k4", "terms", "first", "row_stride", "term_stride"]);
    expect([...overrides]).toEqual(["WEIGHT", "ACCUMULATE", "WG"]);
    expect(loadKernel("linear/linear-uniform").bindings.map((b) => `${b.index} ${b.name} ${b.kind}`)).toEqual(
      ["1 x read", "2 w uniform", "3 bias read", "4 residual read", "5 y write"], // prettier-ignore
    );
    expect(scalars.params.map((p) => p.type)).toEqual(["u32", "i32", "f32"]);
  });

  test("sets constants, and leaves out the lines of one that is 0", () => {
    const file = "linear/linear-row-subgroup";
    const [kept, none] = [256, 0].map((KEPT) => loadKernel(file, { SG: 4, KEPT }).source);
    for (const source of [kept, none]) expect(source).toMatch(/^const SG = 4u;/m);
    expect(kept).toMatch(/^const KEPT = 256u;/m);
    const lines = loadKernel(file).source.split("\n");
    const optional = lines.filter((line) => line.endsWith("// @with KEPT"));
    expect(optional.length).toBeGreaterThan(3);
    expect(kept.split("\n")).toHaveLength(lines.length);
    expect(none.split("\n")).toHaveLength(lines.length - optional.length);
    expect(none).not.toContain("var<workgroup>");
    const message = `${file}: expected a line "const TM = 1u; // @set", got none`;
    expect(() => loadKernel(file, { TM: 1 })).toThrow(new GpuError(message));
  });

  test.each([
    ["no-params", "struct Params is missing"],
    ["vector-param", 'Params field "a: vec2f" must be a 4-byte scalar (u32, i32, f32)'],
    ["binding-gap", "bindings must be numbered 1, 2, 3, ... after the uniform Params at 0"],
  ])("refuses %s", (file, message) => {
    const name = `../../test/shaders/${file}`;
    expect(() => loadKernel(name)).toThrow(new GpuError(`${name}: ${message}`));
  });
});

describe("a call", () => {
  const call = (change: Partial<Dispatch>): Promise<unknown> =>
    gpu().step(() => {
      const y = gpu().empty([3], "u32");
      gpu().run(scalars, { params: { u: 7, i: -1187, f: 0.1 }, tensors: { y }, groups: 1, ...change });
      return [y];
    });

  test("writes every type of parameter, and overrides", async () => {
    const bits = new Uint32Array(Float32Array.of(0.1).buffer)[0];
    expect(await call({})).toEqual([Uint32Array.of(7, 2 ** 32 - 1187, bits)]);
    expect(await call({ overrides: { EXTRA: 10 } })).toEqual([Uint32Array.of(17, 2 ** 32 - 1187, bits)]);
  });

  test.each<[Partial<Dispatch>, string]>([
    [{ params: { u: 1, i: 1 } }, "missing parameter f"],
    [{ params: { u: 1, i: 1, f: 1, g: 1 } }, "unknown parameter g"],
    [{ params: { u: -1, i: 1, f: 1 } }, "parameter u must be a u32, got -1"],
    [{ params: { u: 2 ** 32, i: 1, f: 1 } }, "parameter u must be a u32, got 4294967296"],
    [{ params: { u: 1, i: 1.5, f: 1 } }, "parameter i must be a i32, got 1.5"],
    [{ params: { u: NaN, i: 1, f: 1 } }, "parameter u must be a u32, got NaN"],
    [{ tensors: {} }, "missing tensor y"],
    [{ overrides: { TILES: 1 } }, "unknown override TILES"],
  ])("%j is refused", async (change, message) => {
    await expect(call(change)).rejects.toThrow(new GpuError(`${scalars.name}: ${message}`));
  });

  test("an unknown tensor is refused", async () => {
    const step = gpu().step(() => {
      const y = gpu().empty([4], "u32");
      gpu().run(scalars, { params: { u: 1, i: 1, f: 1 }, tensors: { y, z: y }, groups: 1 });
      return [];
    });
    await expect(step).rejects.toThrow(new GpuError(`${scalars.name}: unknown tensor z`));
  });

  test("no groups: nothing is run", async () => {
    const before = gpu().counts.dispatches;
    await call({ groups: 0 });
    expect(gpu().counts.dispatches).toBe(before);
  });
});

test("a kernel that does not compile fails the step with its name, each time, and others still run", async () => {
  const source = scalars.source.replace("p.u + EXTRA", "p.nothing");
  const broken = { ...scalars, name: "broken/broken", source };
  const use = (): Promise<unknown> =>
    gpu().step(() => {
      const y = gpu().empty([3], "u32");
      gpu().run(broken, { params: { u: 1, i: 1, f: 1 }, tensors: { y }, groups: 1 });
      return [y];
    });
  for (let time = 0; time < 2; time++) {
    const error: unknown = await use().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GpuError);
    expect((error as GpuError).message).toMatch(/^broken\/broken: .*nothing/s);
    await gpu().finish(); // nothing is left over to be reported again
  }
  const [y] = await gpu().step(() => {
    const y = gpu().empty([3], "u32");
    gpu().run(scalars, { params: { u: 1, i: 2, f: 0 }, tensors: { y }, groups: 1 });
    return [y];
  });
  expect([...y]).toEqual([1, 2, 0]);
});

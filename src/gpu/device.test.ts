import { describe, expect, test } from "vitest";
import { lowerLimits, useGpu, values } from "../../test/gpu.js";
import { add } from "../kernels/add/add.js";
import { openDevice, webgpu } from "../node/device.js";
import { Gpu } from "./device.js";
import { GpuError } from "./errors.js";
import { type Kernel, foldGroups } from "./kernel.js";
import type { Tensor } from "./tensor.js";

// The rules of a step: places where tensors may be made, results, memory left behind, pipelines
// made once. Hazards between uploads, reads, scopes and reused buffers. Failures: limits, a lost
// device, a body that throws.
const gpu = useGpu();
const one = Float32Array.of(1);

describe("foldGroups", () => {
  test.each([
    [1, [1, 1]],
    [65_535, [65_535, 1]],
    [65_536, [32_768, 2]],
    [4_294_836_225, [65_535, 65_535]],
  ])("%i groups", (groups, want) => expect(foldGroups(groups)).toEqual(want));

  test("the product holds all groups and neither factor passes 65,535", () => {
    for (let groups = 1; groups < 2 ** 31; groups = Math.ceil(groups * 1.37) + 1) {
      const [x, y] = foldGroups(groups);
      expect(x * y).toBeGreaterThanOrEqual(groups);
      expect(Math.max(x, y)).toBeLessThanOrEqual(65_535);
    }
  });
});

describe("lifetimes", () => {
  test("a step gives back what it took", async () => {
    const [sum] = await gpu().step(() => {
      const x = gpu().upload(values(100_000, 1), [100_000]);
      const y = add(gpu(), x, x);
      expect(gpu().bytes.live).toBeGreaterThan(800_000);
      return [add(gpu(), y, y)];
    });
    expect(sum.length).toBe(100_000);
    expect(gpu().bytes.live).toBe(0);
  });

  test("so does a step whose body throws, and the next one runs", async () => {
    const failure = new Error("no");
    const failed = gpu().step(() => {
      add(gpu(), gpu().upload(one, [1]), gpu().upload(one, [1]));
      throw failure;
    });
    await expect(failed).rejects.toBe(failure);
    expect(gpu().bytes.live).toBe(0);
    const [y] = await gpu().step(() => [add(gpu(), gpu().upload(one, [1]), gpu().upload(one, [1]))]);
    expect([...y]).toEqual([2]);
  });

  test("a scope recycles all but what it returns, also from inside arrays and objects", async () => {
    const results = await gpu().step(() => {
      const x = gpu().upload(values(1000, 1), [1000]);
      const before = gpu().bytes.live;
      const kept = gpu().scope(() => {
        const [a, b, c] = [add(gpu(), x, x), add(gpu(), x, x), add(gpu(), x, x)];
        return { a, list: [[add(gpu(), b, c)]], n: 3, nothing: null };
      });
      const bucket = kept.a.allocation.bytes;
      expect(gpu().bytes.live).toBe(before + 2 * bucket);
      const reserved = gpu().bytes.reserved;
      const later = [add(gpu(), x, x), add(gpu(), x, x)]; // in the two that came back
      expect(gpu().bytes.reserved).toBe(reserved);
      return [kept.a, kept.list[0][0], ...later];
    });
    const x = values(1000, 1);
    for (const [i, factor] of [2, 4, 2, 2].entries())
      expect(results[i]).toEqual(x.map((value) => factor * value));
  });

  test("what an inner scope returns is recycled by the outer one; a scope that throws recycles all", async () => {
    await gpu().step(() => {
      const x = gpu().upload(one, [1]);
      const before = gpu().bytes.live;
      gpu().scope(() => {
        gpu().scope(() => add(gpu(), x, x));
      });
      const throwing = (): Tensor =>
        gpu().scope(() => {
          add(gpu(), x, x);
          throw new Error("no");
        });
      expect(throwing).toThrow("no");
      expect(gpu().bytes.live).toBe(before);
      return [];
    });
  });

  test("a chain gives each layer's input back, but not the first", async () => {
    const [first, last] = await gpu().step(() => {
      const x = add(gpu(), gpu().upload(one, [1]), gpu().upload(one, [1]));
      const before = gpu().bytes.live;
      const seen: number[] = [];
      const y = gpu().chain(x, ["a", "b", "c"], (input, _, index) => {
        seen.push(index);
        return add(gpu(), input, x);
      });
      expect(seen).toEqual([0, 1, 2]);
      expect(gpu().bytes.live).toBe(before + y.allocation.bytes);
      expect(gpu().chain(x, [], () => y)).toBe(x);
      return [x, y];
    });
    expect([...first, ...last]).toEqual([2, 8]);
    expect(gpu().bytes.live).toBe(0);
  });

  test("a held tensor outlives its step until it is released; only the step's own can be held", async () => {
    let held: Tensor | undefined;
    await gpu().step(() => {
      const x = gpu().upload(one, [1]);
      held = gpu().hold(add(gpu(), x, x));
      return [];
    });
    expect(gpu().bytes.live).toBe(held!.allocation.bytes);
    const [y] = await gpu().step(() => [add(gpu(), held!, gpu().upload(one, [1]))]);
    expect([...y]).toEqual([3]);
    const again = gpu().step(() => [gpu().hold(held!)]);
    await expect(again).rejects.toThrow(
      new GpuError("hold: the tensor must have been made by this step's ops"),
    );
    gpu().release(held!);
    expect(gpu().bytes.live).toBe(0);
  });

  test("a chain keeps what a layer passes through unchanged", async () => {
    const [y] = await gpu().step(() => {
      const x = gpu().upload(one, [1]);
      const kept = gpu().chain(x, [1, 2], (input, layer) => (layer === 1 ? add(gpu(), input, input) : input));
      const other = gpu().empty([1]);
      expect(other.allocation).not.toBe(kept.allocation);
      return [kept];
    });
    expect([...y]).toEqual([2]);
  });

  test("a tensor is given back once", async () => {
    let held: Tensor | undefined;
    await gpu().step(() => {
      held = gpu().hold(add(gpu(), gpu().upload(one, [1]), gpu().upload(one, [1])));
      return [];
    });
    gpu().release(held!);
    expect(() => gpu().release(held!)).toThrow(
      new GpuError("release: expected a tensor that is held, got one that is not or no longer"),
    );
    const kept = gpu().keep([1], "f32");
    gpu().free(kept);
    expect(() => gpu().free(kept)).toThrow(
      new GpuError("free: expected a kept tensor, got one that is not or no longer"),
    );
    expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  });

  test("kept bytes are counted and freed; trim leaves what is kept", async () => {
    const { kept } = gpu().bytes;
    const tensor = gpu().keep([10, 10], "f32");
    expect(gpu().bytes.kept).toBe(kept + 400);
    gpu().write(tensor, new Float32Array(values(100, 1)));
    const before = gpu().bytes.reserved;
    gpu().trim();
    expect(gpu().bytes.reserved).toBeLessThan(before);
    const [data] = await gpu().step(() => [tensor]);
    expect(data).toEqual(values(100, 1));
    gpu().free(tensor);
    expect(gpu().bytes.kept).toBe(kept);
  });
});

describe("made once", () => {
  test("the same step again makes no pipeline, no bind group and no buffer, and is one submit", async () => {
    const step = (): Promise<unknown> =>
      gpu().step(() => {
        let x = gpu().upload(values(700, 1), [700]);
        for (let i = 0; i < 5; i++) {
          const bias = gpu().upload(values(700, i), [700]);
          x = gpu().scope(() => add(gpu(), add(gpu(), x, bias), bias));
        }
        return [x];
      });
    const first = await step();
    const { counts, bytes } = gpu();
    for (let i = 1; i <= 3; i++) {
      expect(await step()).toEqual(first);
      const { pipelines, bindGroups, submits, dispatches } = gpu().counts;
      expect({ pipelines, bindGroups }).toEqual({
        pipelines: counts.pipelines,
        bindGroups: counts.bindGroups,
      });
      expect([submits - counts.submits, dispatches - counts.dispatches]).toEqual([i, 10 * i]);
      expect(gpu().bytes).toEqual(bytes);
    }
  });

  test("a tensor kept after another was freed is bound anew", async () => {
    for (const value of [3, 4]) {
      const kept = gpu().keep([1], "f32");
      gpu().write(kept, Float32Array.of(value));
      const [y] = await gpu().step(() => [add(gpu(), kept, gpu().upload(one, [1]))]);
      expect([...y]).toEqual([value + 1]);
      gpu().free(kept);
    }
  });
});

describe("the bind group cache", () => {
  test("lengths that share buffers share bind groups", async () => {
    const run = (length: number): Promise<unknown> =>
      gpu().step(() => {
        const x = gpu().upload(values(length, 1), [length]);
        return [add(gpu(), x, x)];
      });
    await run(4000); // buckets of 16 kB hold 3585 to 4096 values
    const { bindGroups } = gpu().counts;
    for (let length = 3600; length <= 4096; length += 16) await run(length);
    expect(gpu().counts.bindGroups).toBe(bindGroups);
  });

  test("a freed buffer leaves nothing behind", async () => {
    const run = async (): Promise<void> => {
      const kept = gpu().keep([8], "f32");
      await gpu().step(() => [add(gpu(), kept, gpu().upload(values(8, 1), [8]))]);
      gpu().free(kept);
    };
    await run();
    const before = gpu().cached;
    for (let i = 0; i < 50; i++) await run();
    expect(gpu().cached).toEqual(before);
  });
});

describe("hazards within a step", () => {
  test("an upload never lands in a buffer that an earlier dispatch still reads", async () => {
    const [y] = await gpu().step(() => {
      let y = gpu().upload(new Float32Array(200), [200]);
      for (let i = 1; i <= 50; i++) {
        y = gpu().scope(() => add(gpu(), y, gpu().upload(new Float32Array(200).fill(i), [200])));
      }
      return [y];
    });
    expect(y).toEqual(new Float32Array(200).fill(1275));
  });

  test("a read sees the tensor as it was at that point", async () => {
    const seen: Promise<unknown>[] = [];
    const tensor = gpu().keep([1], "f32");
    await gpu().step(() => {
      for (let i = 0; i < 3; i++) {
        seen.push(gpu().read(gpu().scope(() => add(gpu(), gpu().upload(Float32Array.of(i), [1]), tensor))));
      }
      return [];
    });
    expect(await Promise.all(seen)).toEqual([0, 1, 2].map((i) => Float32Array.of(i)));
    gpu().free(tensor);
  });

  test("more dispatches than one submit holds", async () => {
    const { submits } = gpu().counts;
    const [y] = await gpu().step(() => {
      const step = gpu().upload(one, [1]);
      let y = gpu().upload(Float32Array.of(0), [1]);
      for (let i = 0; i < 4096 * 2 + 5; i++) y = gpu().scope(() => add(gpu(), y, step));
      return [y];
    });
    expect([...y]).toEqual([8197]);
    expect(gpu().counts.submits - submits).toBe(3);
  });

  test("steps that are opened without waiting run in order", async () => {
    const total = gpu().keep([1], "f32");
    const steps = [1, 2, 3].map((value) =>
      gpu().step(() => [add(gpu(), total, gpu().upload(Float32Array.of(value), [1]))]),
    );
    expect((await Promise.all(steps)).flat()).toEqual([1, 2, 3].map((value) => Float32Array.of(value)));
    expect(gpu().bytes.live).toBe(0);
    gpu().free(total);
  });
});

describe("refusals", () => {
  const outside = new GpuError("tensors are made and kernels run only inside a step");

  test("outside a step", () => {
    const tensor = gpu().keep([1], "f32");
    expect(() => gpu().empty([1])).toThrow(outside);
    expect(() => gpu().upload(one, [1])).toThrow(outside);
    expect(() => add(gpu(), tensor, tensor)).toThrow(outside);
    expect(() => gpu().scope(() => 1)).toThrow(outside);
    expect(() => gpu().read(tensor)).toThrow(outside);
    gpu().free(tensor);
  });

  test("a step inside a step", async () => {
    const inner: Promise<unknown>[] = [];
    await gpu().step(() => {
      inner.push(gpu().step(() => []));
      void inner[0].catch(() => undefined);
      return [];
    });
    await expect(inner[0]).rejects.toThrow(new GpuError("a step cannot be opened inside a step"));
  });

  test("a failed step leaves its errors to itself", async () => {
    const broken: Kernel = {
      name: "broken",
      source: "this is no WGSL",
      bindings: [{ index: 1, name: "x", kind: "read" }],
      params: [],
      overrides: new Set(),
    };
    const failed = gpu().step(() => {
      gpu().run(broken, { params: {}, tensors: { x: gpu().upload(one, [1]) }, groups: 1 });
      throw new GpuError("the body failed");
    });
    await expect(failed).rejects.toThrow(new GpuError("the body failed"));
    const [y] = await gpu().step(() => [gpu().upload(one, [1])]);
    expect([...y]).toEqual([1]);
  });

  test("an upload whose length is not its shape's", async () => {
    const step = gpu().step(() => [gpu().upload(one, [2, 3])]);
    await expect(step).rejects.toThrow(new GpuError("upload: [2, 3] takes 24 bytes, got 4"));
  });

  test("a tensor larger than one binding, in one line", async () => {
    const small = (await openDevice()).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 1 << 20 });
    const step = small.step(() => [add(small, small.empty([5, 205]), small.empty([5, 205]))]);
    await expect(step).rejects.toThrow(
      new GpuError(
        "add/add: a [5, 205] takes 4100 bytes, one storage binding holds 4096; use shorter clips or a smaller batch",
      ),
    );
    small.destroy();
  });
});

describe("other devices", () => {
  test("a device of the user's own", async () => {
    const adapter = (await webgpu().requestAdapter())!;
    const own = new Gpu(await adapter.requestDevice());
    const [y] = await own.step(() => [add(own, own.upload(one, [1]), own.upload(one, [1]))]);
    expect([...y]).toEqual([2]);
    await own.finish();
    own.destroy();
  });

  test("results stay right where few bind groups are kept", async () => {
    const adapter = (await webgpu().requestAdapter())!;
    const own = new Gpu(await adapter.requestDevice(), { bindGroups: 4 });
    const most = { bindGroups: 0, keys: 0 };
    for (const count of [3, 10, 10, 9]) {
      const [y] = await own.step(() => {
        const step = own.upload(one, [1]);
        let y = own.upload(Float32Array.of(0), [1]);
        for (let i = 0; i < count; i++) {
          y = own.scope(() => add(own, y, step));
          most.bindGroups = Math.max(most.bindGroups, own.cached.bindGroups);
          most.keys = Math.max(most.keys, own.cached.keys);
        }
        return [y];
      });
      expect([...y]).toEqual([count]);
    }
    expect(most).toEqual({ bindGroups: 4, keys: 12 }); // two summands and the sum each
    own.trim();
    expect(own.cached).toEqual({ bindGroups: 0, keys: 0 });
    own.destroy();
  });

  test("a destroyed device says so", async () => {
    const own = (await openDevice()).gpu;
    own.destroy();
    await own.device.lost;
    const error: unknown = await own.step(() => []).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GpuError);
    expect((error as GpuError).message).toMatch(/^the device is lost: /);
  });

  test("a device destroyed under a running step fails the step", async () => {
    const own = (await openDevice()).gpu;
    const step = own.step(() => [add(own, own.upload(one, [1]), own.upload(one, [1]))]);
    own.destroy();
    await expect(step).rejects.toThrow();
  });
});

// Plan: a loader opens Node's device through an adapter that counts its devices, waits at a gate and fails on
// demand. However calls come together, are aborted or meet a device that is lost, each device that is open is
// the one that all calls share, and a call that can be served is served.
import { afterEach, expect, it } from "vitest";
import { GpuError } from "../gpu/errors.js";
import { webgpu } from "../node/device.js";
import { Loader } from "./loader.js";
import type { Models } from "./models.js";
import type { Platform } from "./platform.js";

/** A WebGPU whose devices are counted. */
class Counted {
  opened = 0;
  ended = 0;
  /** Requests of an adapter that find none. */
  refused = 0;
  /** What requests of an adapter wait for. */
  gate: Promise<void> = Promise.resolve();

  get platform(): Platform {
    const requestAdapter = async (options?: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
      await this.gate;
      if (this.refused > 0) {
        this.refused--;
        return null;
      }
      const adapter = await webgpu().requestAdapter(options);
      const requestDevice = async (wish?: GPUDeviceDescriptor): Promise<GPUDevice> => {
        const device = await adapter!.requestDevice(wish);
        this.opened++;
        void device.lost.then(() => this.ended++);
        return device;
      };
      const { limits, features, info } = adapter!;
      return { limits, features, info, requestDevice } as unknown as GPUAdapter;
    };
    return { gpu: { requestAdapter } as unknown as GPU };
  }
}

const silent = (): AbortSignal => new AbortController().signal;
const quiet = { onProgress: () => undefined };
const idle = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

let loader: Loader;
let counted: Counted;
let lost: string[];
function make(): void {
  counted = new Counted();
  lost = [];
  loader = new Loader(counted.platform, (reason) => lost.push(reason));
}
afterEach(() => loader.close());

/** A loader that has started. */
async function started(): Promise<Models> {
  make();
  return loader.start({}, { ...quiet, signal: silent() });
}

it("opens a lost device once for all calls, and frees it at the end", async () => {
  const { gpu } = await started();
  gpu.destroy();
  await gpu.device.lost;
  const [one, two, three] = await Promise.all([1, 2, 3].map(() => loader.models(silent())));
  expect(one).toBe(two);
  expect(one).toBe(three);
  expect(one.gpu.lost).toBe(false);
  expect(counted).toMatchObject({ opened: 2, ended: 1 });
  expect(lost).toHaveLength(1);
  await loader.close();
  await one.gpu.device.lost;
  await idle();
  expect(counted).toMatchObject({ opened: 2, ended: 2 });
  expect(lost).toHaveLength(1);
});

it.each([
  ["at once", 0],
  ["one after the other", 20],
])("repeats calls that met the loss %s, on one new device", async (_, ms) => {
  const first = await started();
  const repeated: string[] = [];
  let waiting = 0;
  const call = (name: string): Promise<string> =>
    loader.repeat(
      async ({ gpu }) => {
        if (gpu !== first.gpu) return name;
        if (++waiting === 2) gpu.destroy();
        await gpu.device.lost;
        if (name === "b" && ms > 0) await idle(ms); // the other one has opened the next device by then
        throw new GpuError("the device is lost", { lost: true });
      },
      silent(),
      () => repeated.push(name),
    );
  expect(await Promise.all([call("a"), call("b")])).toEqual(["a", "b"]);
  expect(repeated).toEqual(["a", "b"]);
  expect(counted).toMatchObject({ opened: 2, ended: 1 });
});

it("tries again where an opening failed", async () => {
  const { gpu } = await started();
  gpu.destroy();
  await gpu.device.lost;
  counted.refused = 1;
  const both = await Promise.allSettled([loader.models(silent()), loader.models(silent())]);
  expect(both.map((end) => end.status)).toEqual(["rejected", "rejected"]);
  await expect(loader.models(silent())).resolves.toMatchObject({ gpu: { lost: false } });
  expect(counted.opened).toBe(2);
});

it.each([
  ["the only call", 1],
  ["one of two calls", 2],
])("rejects %s that is aborted while a device is opened", async (_, calls) => {
  const { gpu } = await started();
  gpu.destroy();
  await gpu.device.lost;
  let open!: () => void;
  counted.gate = new Promise((resolve) => (open = resolve));
  const abort = new AbortController();
  const reason = new Error("the user left");
  const aborted = loader.models(abort.signal);
  const other = calls === 2 ? loader.models(silent()) : undefined;
  abort.abort(reason);
  await expect(aborted).rejects.toBe(reason); // though the gate is shut
  await expect(loader.models(abort.signal)).rejects.toBe(reason);
  const next = loader.models(silent());
  open();
  const models = await next;
  expect(models.gpu.lost).toBe(false);
  if (other) expect(await other).toBe(models);
  for (let i = 0; counted.opened - counted.ended > 1 && i < 100; i++) await idle();
  expect(counted.opened - counted.ended).toBe(1);
});

it("frees the device of a start that is aborted or closed in its midst", async () => {
  for (const end of ["abort", "close"]) {
    make();
    let open!: () => void;
    counted.gate = new Promise((resolve) => (open = resolve));
    const abort = new AbortController();
    const start = loader.start({}, { ...quiet, signal: abort.signal });
    const failed = expect(start).rejects.toThrow(end === "abort" ? "aborted" : "the engine was closed");
    const closed = end === "close" ? loader.close() : undefined;
    if (!closed) abort.abort();
    open();
    await failed;
    await closed;
    for (let i = 0; counted.opened - counted.ended > 0 && i < 100; i++) await idle();
    expect(counted.opened - counted.ended).toBe(0);
  }
});

it("refuses calls before its start, a second start, and calls after its end", async () => {
  make();
  await expect(loader.models(silent())).rejects.toThrow("expected a start before this call, got none");
  await loader.start({}, { ...quiet, signal: silent() });
  await expect(loader.start({}, { ...quiet, signal: silent() })).rejects.toThrow("got another");
  await loader.close();
  await loader.close();
  await expect(loader.models(silent())).rejects.toMatchObject({ code: "worker" });
  expect(counted.opened).toBe(1);
});

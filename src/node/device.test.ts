import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { describe, expect, it } from "vitest";
import { GpuError } from "../gpu/errors.js";
import { memoryLimit, noAdapter, openDevice } from "./device.js";

async function refusal(action: () => Promise<unknown>): Promise<string> {
  const error: unknown = await action().catch((e: unknown) => e);
  expect(error).toBeInstanceOf(GpuError);
  const { message } = error as GpuError;
  expect(message).not.toMatch(/[\r\n]/);
  return message;
}

// Plan: what a device cannot be opened with is refused in one line; a second name is refused too.
describe("openDevice", () => {
  it("limits above the adapter's", async () => {
    expect(await refusal(() => openDevice({ limits: { maxBufferSize: 1e15 } }))).toMatch(
      /: expected a device with these limits, got: .*1000000000000000.*maxBufferSize/,
    );
  });

  it("another adapter's name than the first", async () => {
    const first = process.env.FUNASR_WEBGPU_ADAPTER ?? "";
    const { gpu } = await openDevice();
    gpu.destroy();
    const again = await openDevice({ adapter: first });
    again.gpu.destroy();
    expect(await refusal(() => openDevice({ adapter: "another" }))).toMatch(
      /^adapter: expected .* as in this process's first call, got "another"; /,
    );
  });
});

// Plan: what is set counts; without it a software adapter gets what the system has free, another no
// limit.
describe("memoryLimit", () => {
  it("is the variable's number of bytes, on any adapter", () => {
    for (const software of [true, false])
      expect(memoryLimit(software, { FUNASR_WEBGPU_MEMORY: "5000000000" })).toBe(5e9);
  });

  it.each(["4GB", "-1", "1.5", "0"])("%s is refused", (text) => {
    expect(() => memoryLimit(true, { FUNASR_WEBGPU_MEMORY: text })).toThrow(
      `FUNASR_WEBGPU_MEMORY: expected a number of bytes, got "${text}"; correct or unset it`,
    );
  });

  it("is less than the machine has where the adapter is a program", () => {
    expect(memoryLimit(false, {})).toBe(Infinity);
    expect(memoryLimit(true, {})).toBeGreaterThan(0);
    expect(memoryLimit(true, { FUNASR_WEBGPU_MEMORY: "" })).toBeLessThanOrEqual(totalmem());
  });
});

// Plan: the advice fits the cause: a variable that hides drivers is named, else the script by a
// path that is there.
describe("noAdapter", () => {
  it.each(["VK_DRIVER_FILES", "VK_ICD_FILENAMES"])("blames %s where it is set", (name) => {
    expect(noAdapter({ [name]: "/etc/none.json" })).toBe(
      `no WebGPU adapter found: ${name} limits Vulkan to /etc/none.json; unset it`,
    );
  });

  it("names the script by its whole path", () => {
    const [, script] =
      /run (\/.*software-vulkan\.sh), elsewhere/.exec(noAdapter({ VK_DRIVER_FILES: "" })) ?? [];
    expect(existsSync(script)).toBe(true);
  });
});

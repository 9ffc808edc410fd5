import { count } from "../report/text.js";
import { Command } from "commander";
import { GpuError } from "../gpu/errors.js";
import { isSoftware } from "../gpu/adapter.js";
import { adapterNames, noAdapter, requestAdapter } from "../node/device.js";
import type { AdapterNames } from "../node/tuning-cache.js";
import { note, print, printJson } from "./output.js";

interface DeviceReport extends AdapterNames {
  readonly software: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

const shown = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
  "minStorageBufferOffsetAlignment",
] as const;

/** The adapters that WebGPU offers here, each once. */
async function findDevices(): Promise<DeviceReport[]> {
  const reports = new Map<string, DeviceReport>();
  const wishes: GPURequestAdapterOptions[] = [
    { powerPreference: "high-performance" },
    { powerPreference: "low-power" },
    { forceFallbackAdapter: true },
  ];
  for (const wish of wishes) {
    const adapter = await requestAdapter(wish, { quiet: true });
    if (!adapter) continue;
    const names = adapterNames(adapter.info);
    reports.set(JSON.stringify(names), {
      ...names,
      software: isSoftware(adapter.info),
      features: [...adapter.features].sort(),
      limits: Object.fromEntries(shown.map((name) => [name, adapter.limits[name]])),
    });
  }
  return [...reports.values()];
}

export function devicesCommand(): Command {
  return new Command("devices")
    .description("list the WebGPU adapters, their features and the limits that matter here")
    .option("--json", "one JSON object per adapter")
    .action(async ({ json }: { json?: boolean }) => {
      const devices = await findDevices();
      if (devices.length === 0) throw new GpuError(noAdapter());
      for (const device of devices) {
        if (json) printJson(device);
        else printDevice(device);
      }
      note(`${devices.length} adapter${devices.length === 1 ? "" : "s"}; the first is used`);
    });
}

function printDevice({ vendor, device, description, software, features, limits }: DeviceReport): void {
  print(`${vendor} ${device}: ${description}${software ? " (software)" : ""}`);
  print(`  features  ${features.join(", ")}`);
  for (const [name, value] of Object.entries(limits)) print(`  ${name.padEnd(34)} ${count(value)}`);
}

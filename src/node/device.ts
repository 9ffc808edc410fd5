import { freemem } from "node:os";
import { fileURLToPath } from "node:url";
import { create } from "webgpu";
import { isSoftware, subgroupFeatures, subgroupSize } from "../gpu/adapter.js";
import { gpuSizes } from "../kernels/gpu-sizes.js";
import { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import type { Tuning } from "../gpu/kernel.js";
import { FunasrError } from "../errors.js";
import { type AdapterNames, readTuning, tuningFile, tuningKey } from "./tuning-cache.js";
import { withoutLimitWarnings } from "./driver-lines.js";
import { restfulWait } from "./wait.js";

export interface DeviceOptions {
  /**
   * Adapter to take, by a part of its name, e.g. "llvmpipe". Default: FUNASR_WEBGPU_ADAPTER, else
   * Dawn's choice.
   */
  readonly adapter?: string;
  /**
   * Limits below what the adapter offers, to run as on a smaller device; WebGPU's defaults (128
   * MiB, 256 MiB) are the least.
   */
  readonly limits?: Partial<Record<"maxStorageBufferBindingSize" | "maxBufferSize", number>>;
  /**
   * Bytes of buffers at most. Default: FUNASR_WEBGPU_MEMORY, else on a software adapter what the
   * system has free, else no limit.
   */
  readonly memoryLimit?: number;
  /** Whether kernels use subgroups where the adapter offers them in one size. Default: true. */
  readonly subgroups?: boolean;
  /**
   * Whether kernels take the sizes that `bench --tune` chose on this adapter. Default: true, or as
   * FUNASR_WEBGPU_TUNING says.
   */
  readonly tuning?: boolean;
  /**
   * Whether Dawn's warnings about dynamic buffers are dropped from stderr; for programs that open
   * no file meanwhile. Default: false.
   */
  readonly quiet?: boolean;
  /**
   * Whether kernels can be timed: asks for the feature timestamp-query, and for times that are not
   * rounded. Default: false.
   */
  readonly timestamps?: boolean;
}

export interface OpenedDevice {
  readonly gpu: Gpu;
  readonly adapter: GPUAdapterInfo;
  /** True where the adapter is a program on the CPU (lavapipe, SwiftShader). */
  readonly software: boolean;
}

const softwareVulkan = fileURLToPath(new URL("../../scripts/software-vulkan.sh", import.meta.url));

/**
 * The message where there is no adapter: the cause, as far as the environment shows it, and advice.
 */
export function noAdapter(environment: NodeJS.ProcessEnv = process.env): string {
  const hiding = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].find((name) => environment[name]);
  const advice = hiding
    ? `${hiding} limits Vulkan to ${environment[hiding]}; unset it`
    : `on Debian or Ubuntu run ${softwareVulkan}, elsewhere install a Vulkan, Metal or D3D12 driver`;
  return `no WebGPU adapter found: ${advice}`;
}

const variable = "FUNASR_WEBGPU_ADAPTER";
const memoryVariable = "FUNASR_WEBGPU_MEMORY";

/**
 * Bytes of buffers that a device may have. Software adapters promise memory that the system does
 * not have, and it kills who touches it: their limit is what is free.
 * @throws GpuError  FUNASR_WEBGPU_MEMORY is no number of bytes
 */
export function memoryLimit(software: boolean, environment: NodeJS.ProcessEnv = process.env): number {
  const text = environment[memoryVariable];
  if (text) {
    const bytes = Number(text);
    if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
    throw new GpuError(
      `${memoryVariable}: expected a number of bytes, got ${JSON.stringify(text)}; correct or unset it`,
    );
  }
  if (!software) return Infinity;
  const constrained = process.constrainedMemory(); // of a container; 0 where there is none
  return Math.min(freemem(), constrained > 0 ? constrained : Infinity);
}

interface EntryPoint {
  readonly gpu: GPU;
  /** Name that adapters were asked for by; "" for any. */
  readonly adapter: string;
  /** Whether the name came from the environment. */
  readonly byVariable: boolean;
}

let opened: EntryPoint | undefined; // reachable for the process's life: Dawn crashes when it is collected

/**
 * Dawn's entry point, one for the process.
 * @param flags  of Dawn, for the process's first call
 * @throws GpuError  it was made for another adapter's name
 */
function entryPoint(name?: string, flags: readonly string[] = []): EntryPoint {
  if (!opened) {
    const adapter = name ?? process.env[variable] ?? "";
    const gpu = create([...(adapter === "" ? [] : [`adapter=${adapter}`]), ...flags]);
    opened = { gpu, adapter, byVariable: name === undefined };
  } else if (name !== undefined && name !== opened.adapter) {
    const first = opened.adapter === "" ? "no name" : `"${opened.adapter}"`;
    throw new GpuError(
      `adapter: expected ${first} as in this process's first call, got "${name}"; a process has one adapter's name`,
    );
  }
  return opened;
}

/** Dawn's WebGPU, one for the process. */
export function webgpu(): GPU {
  return entryPoint().gpu;
}

/** How `requestAdapter` asks. */
interface AdapterOptions {
  /** A part of the adapter's name. Default: FUNASR_WEBGPU_ADAPTER, else any. */
  readonly name?: string | undefined;
  /** Of Dawn, for the process's first call. */
  readonly flags?: readonly string[];
  /** As in DeviceOptions. */
  readonly quiet?: boolean | undefined;
}

/**
 * An adapter that WebGPU offers for a wish; null where it has none.
 * @throws GpuError  no adapter is called so
 */
export async function requestAdapter(
  wish: GPURequestAdapterOptions,
  { name, flags, quiet }: AdapterOptions = {},
): Promise<GPUAdapter | null> {
  const { gpu, adapter, byVariable } = entryPoint(name, flags);
  const request = (): Promise<GPUAdapter | null> => gpu.requestAdapter(wish); // prints before it returns
  try {
    return await (quiet ? withoutLimitWarnings(request) : request());
  } catch (cause) {
    const offered = Array.from(String(cause).matchAll(/name: '([^']*)'/g), (match) => match[1]);
    if (adapter === "" || offered.length === 0) throw new GpuError(noAdapter(), { cause });
    const advice = byVariable ? `unset ${variable}` : "name one of them";
    throw new GpuError(
      `adapter "${adapter}": expected a part of ${[...new Set(offered)].join(" or ")}, got none of that name; ${advice}`,
      { cause },
    );
  }
}

/**
 * The sizes that `bench --tune` chose on this adapter. A damaged file gives a warning and stays as
 * it is.
 */
async function findTuning(info: GPUAdapterInfo, lanes: number | undefined): Promise<Tuning | undefined> {
  if (lanes === undefined) return undefined;
  const key = tuningKey({ ...adapterNames(info), lanes });
  const file = tuningFile(key);
  try {
    return file === undefined ? undefined : await readTuning(file, key);
  } catch (error) {
    const ofSystem = error instanceof Error && "syscall" in error;
    if (!(error instanceof FunasrError || ofSystem)) throw error;
    process.emitWarning(`${error.message}; the usual sizes are taken`, "TuningWarning");
    return undefined;
  }
}

/** Identifies an adapter. */
export function adapterNames({ vendor, architecture, device, description }: GPUAdapterInfo): AdapterNames {
  return { vendor, architecture, device, description };
}

const exactTimes = ["disable-dawn-features=timestamp_quantization"];

/**
 * Opens the default adapter's device.
 * @throws GpuError  no adapter, or it refuses the limits or the timestamps
 */
export async function openDevice(options: DeviceOptions = {}): Promise<OpenedDevice> {
  const flags = options.timestamps ? exactTimes : [];
  const adapter = await requestAdapter(
    { powerPreference: "high-performance" },
    { name: options.adapter, flags, quiet: options.quiet },
  );
  if (!adapter) throw new GpuError(noAdapter());
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const requiredLimits = { maxStorageBufferBindingSize, maxBufferSize, ...options.limits };
  const lanes = options.subgroups === false ? undefined : subgroupSize(adapter);
  const requiredFeatures = lanes ? subgroupFeatures(adapter) : [];
  if (options.timestamps) {
    if (!adapter.features.has("timestamp-query"))
      throw new GpuError(
        `${adapter.info.description}: expected an adapter that takes the time (timestamp-query), got one that does not; choose another with FUNASR_WEBGPU_ADAPTER`,
      );
    requiredFeatures.push("timestamp-query");
  }
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures }).catch((cause: unknown) => {
    const reason = (cause instanceof Error ? cause.message : String(cause))
      .trim()
      .replaceAll(/\s*\n\s*/g, " ");
    throw new GpuError(`${adapter.info.description}: expected a device with these limits, got: ${reason}`, {
      cause,
    });
  });
  const software = isSoftware(adapter.info);
  const limit = options.memoryLimit ?? memoryLimit(software);
  const wait = software ? restfulWait : undefined;
  const found = options.tuning === false ? undefined : await findTuning(adapter.info, lanes);
  const tuning = { ...gpuSizes(adapter.info), ...found };
  const gpu = new Gpu(device, { memoryLimit: limit, wait, subgroupSize: lanes, tuning });
  return { gpu, adapter: adapter.info, software };
}

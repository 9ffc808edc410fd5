import { expectArgument, hasMethods } from "../arguments.js";
import { FunasrError } from "../errors.js";

/**
 * The device refused something: a kernel does not compile, a limit is passed, memory is out, the
 * device is lost.
 */
export class GpuError extends FunasrError {
  /** Whether the device is lost: no call on it can succeed again. */
  readonly lost: boolean;
  /** Whether the device reported it of a step that it had: what that step wrote is not known. */
  reported = false;

  constructor(message: string, options?: ErrorOptions & { readonly lost?: boolean }) {
    super(message.trim().replaceAll(/\s*\n\s*/g, " "), options); // drivers report in several lines
    this.lost = options?.lost ?? false;
  }
}

/** The device has no room for a buffer, or the limit that was set for it has none. */
export class DeviceMemoryError extends GpuError {
  /**
   * @param asked    bytes of the buffer
   * @param granted  bytes of the buffers there were already
   */
  constructor(
    readonly asked: number,
    readonly granted: number,
    readonly reason: string,
  ) {
    super(
      `out of device memory: expected room for ${asked} bytes beside ${granted}, got none (${reason.trim()}); ` +
        "use shorter clips, fewer at a time, or smaller --weights",
    );
  }
}

/** An op was called with tensors whose shapes or dtypes do not fit. */
export class ShapeError extends FunasrError {}

/** Refuses what is no GPUDevice, such as an adapter. @throws ArgumentError */
export function expectDevice(device: unknown): void {
  const ok = hasMethods(device, "createBuffer", "createComputePipeline");
  expectArgument("new Gpu: device", ok, "a GPUDevice, as await adapter.requestDevice() gives", device);
}

/** Refuses what is no Gpu, such as a GPUDevice. @throws ArgumentError */
export function expectGpu(where: string, gpu: unknown): void {
  const ok = hasMethods(gpu, "step", "keep");
  expectArgument(`${where}: gpu`, ok, "a Gpu, as new Gpu(DEVICE) or (await openDevice()).gpu", gpu);
}

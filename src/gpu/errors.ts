import { FunasrError } from "../errors.js";

/** The device refused something: a kernel does not compile, a limit is passed, memory is out, the device is lost. */
export class GpuError extends FunasrError {
  constructor(message: string, options?: ErrorOptions) {
    super(message.trim().replaceAll(/\s*\n\s*/g, " "), options); // drivers report in several lines
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

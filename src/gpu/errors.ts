import { FunasrError } from "../errors.js";

/** The device refused something: a kernel does not compile, a limit is passed, memory is out, the device is lost. */
export class GpuError extends FunasrError {
  constructor(message: string, options?: ErrorOptions) {
    super(message.trim().replaceAll(/\s*\n\s*/g, " "), options); // drivers report in several lines
  }
}

/** An op was called with tensors whose shapes or dtypes do not fit. */
export class ShapeError extends FunasrError {}

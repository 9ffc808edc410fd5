import { GpuError } from "./errors.js";

const announced = 100; // ms within which a device announces its loss, once its promises reject

/** Whether a device is lost, and what its rejected promises mean. */
export class DeviceLoss {
  #message: string | undefined; // what to report, once it is lost
  readonly #lost: Promise<string>;

  constructor(device: GPUDevice) {
    this.#lost = device.lost.then(
      (info) => (this.#message = `the device is lost: ${info.message}; open another`),
    );
  }

  /** @throws GpuError  the device is lost */
  check(): void {
    if (this.#message !== undefined) throw new GpuError(this.#message);
  }

  /**
   * An answer of the device. Promises of a lost device reject with errors of other kinds, often without a message.
   * @throws GpuError
   */
  async explain<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof GpuError) throw error;
      const silent = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), announced));
      const { name, message } = error as Error;
      const lost = await Promise.race([this.#lost, silent]);
      throw new GpuError(lost ?? `the device failed: ${message || name}`, { cause: error });
    }
  }
}

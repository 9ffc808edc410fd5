import { type Command, encode } from "./program.js";
import type { Timing } from "./timing.js";

/** The command buffer that is being recorded, and how many there were. */
export class Recorder {
  /** Set while a profile is taken: each dispatch then has a pass of its own. */
  timing?: Timing;
  #dispatches = 0;
  #submits = 0;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;

  constructor(private readonly device: GPUDevice) {}

  /** Dispatches and submits since the device was opened. */
  get counts(): { readonly dispatches: number; readonly submits: number } {
    return { dispatches: this.#dispatches, submits: this.#submits };
  }

  dispatch(command: Command): void {
    this.#dispatches++;
    if (this.timing) {
      this.timing.dispatch(this.commands(), command);
      return;
    }
    this.#encoder ??= this.device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    encode(this.#pass, command);
  }

  /** For copies and clears, outside of any pass. */
  commands(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = undefined;
    return (this.#encoder ??= this.device.createCommandEncoder());
  }

  /** Submits what was recorded, if anything. */
  submit(): void {
    if (!this.#encoder) return;
    const encoder = this.commands();
    this.timing?.resolve(encoder);
    const commands = encoder.finish();
    this.timing?.submitted();
    this.device.queue.submit([commands]);
    this.#encoder = undefined;
    this.#submits++;
  }
}

import { GpuError } from "./errors.js";
import { type Dispatch, type Kernel, writeParams } from "./kernel.js";
import { type Command, encode, paramsBytes, paramsWindow } from "./pipelines.js";
import type { Tensor } from "./tensor.js";
import type { Timing } from "./timing.js";

/** What a step recorded, to be submitted again. */
export interface Recording {
  readonly commands: readonly Command[];
  /** Parameters of all dispatches. */
  readonly params: Uint8Array;
  readonly results: readonly Tensor[];
  /** `Gpu.trim` calls before it: a later one may have destroyed its buffers. */
  readonly age: number;
  /** Buffers that its dispatches use. */
  readonly buffers: readonly number[];
}

/**
 * A step that is always the same: `Gpu.step` records it once and from then on submits what was
 * recorded, without calling the body. What changes between its runs stands in kept tensors. Its
 * kept tensors must live as long as it is used.
 */
export class Program {
  recording?: Recording;
}

/**
 * The commands of a step with their parameters, from recording to submitting, and how many there
 * were.
 */
export class Recorder {
  /** Set while a profile is taken: each dispatch then has a pass of its own. */
  timing?: Timing;
  readonly #values = new DataView(new ArrayBuffer(paramsBytes));
  #used = 0; // bytes of #values
  #dispatches = 0;
  #submits = 0;
  #age = 0;
  #recorded: Command[] | undefined; // of a program's first run
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;

  /**
   * @param params  uniform buffer of `paramsBytes`
   * @param lent    whether a buffer of the pool is lent out now
   */
  constructor(
    private readonly device: GPUDevice,
    private readonly params: GPUBuffer,
    private readonly lent: (buffer: number) => boolean = () => false,
  ) {}

  /** Dispatches and submits since the device was opened. */
  get counts(): { readonly dispatches: number; readonly submits: number } {
    return { dispatches: this.#dispatches, submits: this.#submits };
  }

  /** Submits what was recorded where the parameters of one more dispatch have no room. */
  makeRoom(): void {
    if (this.#used + paramsWindow <= paramsBytes) return;
    this.refuseInProgram("hold so many dispatches");
    this.submit();
  }

  /** Writes the parameters of the next dispatch. @returns  where they stand, bytes */
  writeParams(kernel: Kernel, values: Dispatch["params"]): number {
    writeParams(kernel, values, this.#values, this.#used);
    return this.#used;
  }

  /** Adds the dispatch whose parameters were written last. */
  dispatch(command: Command): void {
    this.#encode(command);
    this.#used += paramsWindow;
  }

  /** For copies and clears, outside of any pass. */
  commands(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = undefined;
    return (this.#encoder ??= this.device.createCommandEncoder());
  }

  /** Submits what was recorded, if anything. */
  submit(): void {
    if (this.#used > 0) this.device.queue.writeBuffer(this.params, 0, this.#values.buffer, 0, this.#used);
    this.#used = 0;
    if (!this.#encoder) return;
    const encoder = this.commands();
    this.timing?.resolve(encoder);
    const commands = encoder.finish();
    this.timing?.submitted();
    this.device.queue.submit([commands]);
    this.#encoder = undefined;
    this.#submits++;
  }

  /**
   * A program's step: as recorded, else recorded now; anew, where a tensor that is held has taken
   * one of its buffers.
   */
  run(program: Program, body: () => readonly Tensor[]): readonly Tensor[] {
    const { recording } = program;
    if (recording?.age === this.#age && !recording.buffers.some(this.lent)) {
      new Uint8Array(this.#values.buffer).set(recording.params);
      this.#used = recording.params.length;
      for (const command of recording.commands) this.#encode(command);
      return recording.results;
    }
    const commands: Command[] = (this.#recorded = []);
    try {
      const results = body();
      const params = new Uint8Array(this.#values.buffer.slice(0, this.#used));
      program.recording = { commands, params, results, age: this.#age, buffers: buffersOf(commands) };
      return results;
    } finally {
      this.#recorded = undefined;
    }
  }

  /** Buffers were destroyed: programs are recorded anew. */
  forget(): void {
    this.#age++;
  }

  /** @throws GpuError  a program is being recorded */
  refuseInProgram(what: string): void {
    if (this.#recorded) throw new GpuError(`a program's step cannot ${what}`);
  }

  #encode(command: Command): void {
    this.#recorded?.push(command);
    this.#dispatches++;
    if (this.timing) {
      this.timing.dispatch(this.commands(), command);
      return;
    }
    this.#encoder ??= this.device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    encode(this.#pass, command);
  }
}

function buffersOf(commands: readonly Command[]): number[] {
  const tensors = commands.flatMap(({ dispatch }) => Object.values(dispatch.tensors));
  return [...new Set(tensors.map(({ allocation }) => allocation.id))];
}

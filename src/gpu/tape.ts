import type { Gpu } from "./device.js";
import { ShapeError } from "./errors.js";
import type { Tensor } from "./tensor.js";

/**
 * A parameter that training changes: f32, kept, with a gradient of its own. Gradients add up until
 * they are cleared.
 */
export interface Trainable {
  /** Name in the checkpoint. */
  readonly name: string;
  readonly value: Tensor;
  /** Same shape, f32. */
  readonly gradient: Tensor;
}

/** One op that ran, and how a gradient passes it. */
export interface TapeEntry {
  readonly output: Tensor;
  /** Everything that a gradient may flow to: activations, weights, biases. */
  readonly inputs: readonly Tensor[];
  /** Tensors that `backward` reads; they stay on the GPU until it has run. */
  readonly saved: readonly Tensor[];
  /**
   * Adds the inputs' gradients with `tape.add`, given that of the output. Makes nothing for inputs
   * that the tape does not want.
   */
  readonly backward: (dy: Tensor) => void;
}

/** The two sums that gradients need, from the kernels. */
export interface GradientSums {
  /** a + b as a new tensor */
  add(gpu: Gpu, a: Tensor, b: Tensor): Tensor;
  /** into += x, in place */
  addInto(gpu: Gpu, into: Tensor, x: Tensor): void;
}

/**
 * What a training step did, to be run backwards. Set as `gpu.tape` while the forward pass records.
 * Tensors are compared by identity: an op that returns another view of its input must record
 * itself.
 */
export class Tape {
  readonly #parameters: ReadonlyMap<Tensor, Tensor>;
  readonly #outputs = new Set<Tensor>();
  readonly #gradients = new Map<Tensor, Tensor>();
  readonly #entries: TapeEntry[] = [];

  /** @param seed  of this step's random draws, u32 */
  constructor(
    private readonly gpu: Gpu,
    trainables: readonly Trainable[],
    private readonly sums: GradientSums,
    readonly seed = 0,
  ) {
    this.#parameters = new Map(trainables.map(({ value, gradient }) => [value, gradient]));
  }

  /** Ops on the tape. */
  get length(): number {
    return this.#entries.length;
  }

  /** Whether a gradient flows to this tensor: a trained parameter, or made from one. */
  wants(tensor: Tensor): boolean {
    return this.#parameters.has(tensor) || this.#outputs.has(tensor);
  }

  /** Remembers an op, if a gradient flows to any of its inputs. */
  record(entry: TapeEntry): void {
    if (!entry.inputs.some((input) => this.wants(input))) return;
    this.#entries.push(entry);
    this.#outputs.add(entry.output);
    for (const tensor of entry.saved) this.gpu.pin(tensor);
  }

  /**
   * Called by an op that no gradient passes, with what it reads.
   * @throws ShapeError  a gradient flows to one of them: it would end here, and what lies before it
   *                     would silently not learn
   */
  refuse(op: string, inputs: readonly Tensor[]): void {
    if (!inputs.some((input) => this.wants(input))) return;
    throw new ShapeError(
      `${op}: expected inputs that nothing trained goes into, got one: no gradient passes this op; load the model with tune`,
    );
  }

  /**
   * Adds to the gradient of a tensor, by an op that adds what was there before to its own in the
   * same dispatch; a tensor that no gradient flows to is passed over. @throws ShapeError  as `add`
   * @param make  the op's gradient, plus the earlier one where it is given; makes a new tensor
   */
  accumulate(tensor: Tensor, make: (earlier?: Tensor) => Tensor): void {
    if (!this.wants(tensor)) return;
    if (this.#parameters.has(tensor)) this.add(tensor, make());
    else this.#replace(tensor, make(this.#gradients.get(tensor)));
  }

  /**
   * Adds to the gradient of a tensor; a tensor that no gradient flows to is passed over. A loss
   * adds the gradient of its input as it is computed; an op's backward those of its inputs. @throws
   * ShapeError  the gradient has another size
   */
  add(tensor: Tensor, gradient: Tensor | undefined): void {
    if (!gradient || !this.wants(tensor)) return;
    expectGradient(tensor, gradient);
    const kept = this.#parameters.get(tensor);
    if (kept) {
      this.sums.addInto(this.gpu, kept, gradient);
      return;
    }
    const before = this.#gradients.get(tensor);
    this.#replace(tensor, before ? this.sums.add(this.gpu, before, gradient) : gradient);
  }

  #replace(tensor: Tensor, sum: Tensor): void {
    expectGradient(tensor, sum);
    const before = this.#gradients.get(tensor);
    this.gpu.pin(sum);
    this.#gradients.set(tensor, sum);
    if (before) this.gpu.unpin(before);
  }

  /**
   * Runs the ops in reverse; what each had saved goes back to the pool once it has run. The tape is
   * empty afterwards.
   */
  backward(): void {
    const recording = this.gpu.tape;
    this.gpu.tape = undefined;
    try {
      for (let entry = this.#entries.pop(); entry; entry = this.#entries.pop()) this.#reverse(entry);
    } finally {
      this.gpu.tape = recording;
      for (const gradient of this.#gradients.values()) this.gpu.unpin(gradient);
      this.#gradients.clear();
      this.#outputs.clear();
    }
  }

  #reverse({ output, saved, backward }: TapeEntry): void {
    const dy = this.#gradients.get(output);
    this.#gradients.delete(output);
    if (dy) {
      this.gpu.scope(() => {
        backward(dy);
      });
      this.gpu.unpin(dy);
    }
    for (const tensor of saved) this.gpu.unpin(tensor);
  }
}

function expectGradient(tensor: Tensor, gradient: Tensor): void {
  if (gradient.dtype === "f32" && gradient.bytes === tensor.bytes) return;
  throw new ShapeError(
    `tape: the gradient of [${tensor.shape.join(", ")}] must have its shape, got [${gradient.shape.join(", ")}] ${gradient.dtype}`,
  );
}

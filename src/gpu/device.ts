/// <reference types="@webgpu/types" preserve="true" />
import { subgroupSize } from "./adapter.js";
import type { GpuBytes, GpuCounts } from "./counts.js";
import { GpuError, expectDevice } from "./errors.js";
import { type Dispatch, type Kernel, type Overrides, type Tuning, foldGroups } from "./kernel.js";
import { DeviceMemory, Pins, Pool, bufferUsage } from "./memory.js";
import { PipelineCache, paramsBytes } from "./pipelines.js";
import { DeviceLoss, type Readback, type TensorData, beginMapping, copyOut, handOver } from "./readback.js";
import { type Program, Recorder } from "./recorder.js";
import type { Tape } from "./tape.js";
import { type Allocation, type DType, type Tensor, byteCount, tensorsIn } from "./tensor.js";
import type { Timing } from "./timing.js";

export type { GpuBytes, GpuCounts } from "./counts.js";
export type { Dispatch } from "./kernel.js";
export type { TensorData } from "./readback.js";

const storage = bufferUsage.storage | bufferUsage.uniform | bufferUsage.copySrc | bufferUsage.copyDst;
const writesPerSubmit = 64 << 20; // bytes
const noOverrides: Overrides = {};

/** How a `Gpu` uses its device. */
export interface GpuOptions {
  /** How to wait for the device; with a software adapter, leave the cores to the driver. */
  readonly wait?: <T>(promise: Promise<T>) => Promise<T>;
  /** Bytes of buffers at most; default: what the device grants. */
  readonly memoryLimit?: number;
  /** Lanes of every subgroup. Default: by the device's features; see `subgroupSize`. */
  readonly subgroupSize?: number;
  /** Sizes of kernels that were measured on this adapter. Default: the usual ones. */
  readonly tuning?: Tuning;
  /** Bind groups kept at most, at least 1. Default: 16,384. */
  readonly bindGroups?: number;
}

/** Allocations that go back to the pool at the scope's end. */
type Scope = Set<Allocation>;

/**
 * A device and what lives on it. Three lifetimes: model and session tensors (`keep`, `free`), step
 * tensors (`empty` and `upload` inside `step`), and within a step whatever a `scope` does not
 * return. Recording is synchronous: one step is recorded at a time, and submitted in the order of
 * the calls.
 */
export class Gpu {
  /** Set while a training step records its forward pass. */
  tape?: Tape;
  /** Sizes of kernels by class of shapes; a class that is not named has its usual ones. */
  tuning: NonNullable<GpuOptions["tuning"]>;
  readonly #cache: PipelineCache;
  readonly #activations: Pool;
  readonly #uploads: Pool;
  readonly #staging: Pool;
  readonly #scopes: Scope[] = [];
  readonly #pins = new Pins();
  readonly #keptIds = new Set<number>();
  readonly #wait: NonNullable<GpuOptions["wait"]>;
  /** Lanes of every subgroup; undefined where kernels must do without subgroups. */
  readonly subgroupSize: number | undefined;
  readonly #memory: DeviceMemory;
  #uploaded: Allocation[] = [];
  #reads: Readback[] = [];
  readonly #recorder: Recorder;
  readonly #loss: DeviceLoss;
  #kept = 0;
  #written = 0;

  constructor(
    readonly device: GPUDevice,
    options: GpuOptions = {},
  ) {
    expectDevice(device);
    this.#wait = options.wait ?? ((promise) => promise);
    this.subgroupSize =
      options.subgroupSize ?? subgroupSize({ features: device.features, info: device.adapterInfo });
    this.tuning = options.tuning ?? {};
    this.#memory = new DeviceMemory(device, options.memoryLimit);
    const params = this.#memory.create(paramsBytes, bufferUsage.uniform | bufferUsage.copyDst).buffer;
    this.#recorder = new Recorder(device, params, (buffer) => this.#activations.lends(buffer));
    this.#cache = new PipelineCache(device, params, options.bindGroups);
    const destroy = (allocation: Allocation): void => this.#destroy(allocation);
    this.#activations = new Pool((bytes) => this.#memory.create(bytes, storage), destroy);
    this.#uploads = new Pool((bytes) => this.#memory.create(bytes, storage), destroy);
    const read = bufferUsage.mapRead | bufferUsage.copyDst;
    this.#staging = new Pool((bytes) => this.#memory.create(bytes, read), destroy);
    this.#loss = new DeviceLoss(device);
  }

  /** Bytes of GPU buffers. */
  get bytes(): GpuBytes {
    const pools = [this.#activations, this.#uploads, this.#staging];
    return {
      kept: this.#kept,
      live: pools.reduce((sum, pool) => sum + pool.liveBytes, 0),
      reserved: this.#memory.bytes,
      peak: this.#memory.peak,
    };
  }

  /** Bytes of buffers at most; infinite where no limit was set. */
  get memoryLimit(): number {
    return this.#memory.limit;
  }

  /** Bind groups that are cached now, and how often a buffer is named among them. */
  get cached(): { readonly bindGroups: number; readonly keys: number } {
    return this.#cache.held;
  }

  get counts(): GpuCounts {
    return { ...this.#recorder.counts, ...this.#cache.made };
  }

  /** Set while a profile is taken. */
  get timing(): Timing | undefined {
    return this.#recorder.timing;
  }

  set timing(timing: Timing | undefined) {
    this.#recorder.timing = timing;
  }

  /** A tensor that lives until `free`: weights, a session's cache. Its bytes are zero at first. */
  keep(shape: readonly number[], dtype: DType): Tensor {
    const bytes = byteCount(shape, dtype);
    const limit = this.device.limits.maxBufferSize;
    if (bytes > limit)
      throw new GpuError(`[${shape.join(", ")}] ${dtype} takes ${bytes} bytes, a buffer holds ${limit}`);
    const size = Math.max(bytes, 4);
    const allocation = this.#memory.create(size, storage);
    this.#keptIds.add(allocation.id);
    this.#kept += size;
    return { shape, dtype, bytes, allocation };
  }

  /** Destroys a kept tensor. @throws GpuError  it is none, or was freed before */
  free(tensor: Tensor): void {
    if (!this.#keptIds.delete(tensor.allocation.id))
      throw new GpuError("free: expected a kept tensor, got one that is not or no longer");
    this.#kept -= tensor.allocation.bytes;
    this.#destroy(tensor.allocation);
  }

  /** Writes into a kept tensor, in the order of submits. Length and offset: multiples of 4. */
  write(tensor: Tensor, data: ArrayBufferView<ArrayBuffer>, byteOffset = 0): void {
    const { buffer, byteOffset: start, byteLength } = data;
    if (byteOffset + byteLength > tensor.bytes) {
      throw new GpuError(`write of ${byteLength} bytes at ${byteOffset} passes the tensor's ${tensor.bytes}`);
    }
    this.device.queue.writeBuffer(tensor.allocation.buffer, byteOffset, buffer, start, byteLength);
    this.timing?.written(tensor, data, byteOffset);
    this.#written += byteLength;
    if (this.#written < writesPerSubmit) return;
    this.#written = 0;
    this.device.queue.submit([]); // lets the device copy, and use its staging memory again
  }

  /**
   * Settles when the device has granted the memory of every buffer so far.
   * @throws DeviceMemoryError
   */
  async granted(): Promise<void> {
    await this.#loss.explain(this.#wait(this.#memory.check()));
  }

  /** A step tensor with undefined contents. */
  empty(shape: readonly number[], dtype: DType = "f32"): Tensor {
    const bytes = byteCount(shape, dtype);
    const allocation = this.#activations.take(bytes);
    this.#scope().add(allocation);
    return { shape, dtype, bytes, allocation };
  }

  /** A step tensor with the given contents; it lives to the end of the step. */
  upload(data: TensorData, shape: readonly number[]): Tensor {
    this.#scope();
    this.#recorder.refuseInProgram("upload: write into kept tensors before it");
    const dtype = data instanceof Float32Array ? "f32" : "u32";
    const bytes = byteCount(shape, dtype);
    if (data.byteLength !== bytes) {
      throw new GpuError(`upload: [${shape.join(", ")}] takes ${bytes} bytes, got ${data.byteLength}`);
    }
    // Never a buffer that this step's dispatches read: the write runs before all of them.
    const allocation = this.#uploads.take(bytes);
    this.#uploaded.push(allocation);
    this.device.queue.writeBuffer(allocation.buffer, 0, data.buffer, data.byteOffset, bytes);
    const tensor = { shape, dtype, bytes, allocation } as const;
    this.timing?.written(tensor, data);
    return tensor;
  }

  /** Compiles a kernel before it is run: while weights are on their way. `finish` reports a failure. */
  compile(kernel: Kernel, overrides: Overrides): void {
    this.#cache.pipeline(kernel, overrides);
  }

  /** Records one dispatch. @throws GpuError  a missing or unknown parameter, tensor or override */
  run(kernel: Kernel, dispatch: Dispatch): void {
    this.#scope();
    if (dispatch.groups === 0) return;
    this.#recorder.makeRoom();
    const pipeline = this.#cache.pipeline(kernel, dispatch.overrides ?? noOverrides);
    const offset = this.#recorder.writeParams(kernel, dispatch.params);
    const bind = (): GPUBindGroup => this.#cache.bindGroup(pipeline, dispatch.tensors, offset);
    const group = this.timing ? this.timing.span("bind groups", bind) : bind();
    const [x, y] = foldGroups(dispatch.groups);
    this.#recorder.dispatch({ pipeline: pipeline.pipeline, group, x, y, kernel, dispatch });
  }

  /**
   * Runs `body`; what it allocates goes back to the pool at its end, but for the tensors that it
   * returns.
   */
  scope<T>(body: () => T): T {
    const parent = this.#scope();
    const scope: Scope = new Set();
    this.#scopes.push(scope);
    try {
      const result = body();
      for (const { allocation } of tensorsIn(result)) {
        if (scope.delete(allocation)) parent.add(allocation);
      }
      return result;
    } finally {
      this.#scopes.pop();
      for (const allocation of scope) this.#giveBack(allocation);
    }
  }

  /**
   * Applies layers in turn, each in a scope of its own; a layer's input goes back to the pool once
   * it has run. The first input stays the caller's.
   */
  chain<T>(
    input: Tensor,
    layers: readonly T[],
    body: (x: Tensor, layer: T, index: number) => Tensor,
  ): Tensor {
    const owned = this.#scope();
    let x = input;
    for (const [i, layer] of layers.entries()) {
      const before = x;
      x = this.scope(() => body(before, layer, i));
      const passed = before === input || before.allocation === x.allocation;
      if (!passed && owned.delete(before.allocation)) this.#giveBack(before.allocation);
    }
    return x;
  }

  /** Takes a tensor out of the running step, so that it lives until `release`. */
  hold(tensor: Tensor): Tensor {
    if (!this.#scopes.some((scope) => scope.delete(tensor.allocation))) {
      throw new GpuError("hold: the tensor must have been made by this step's ops");
    }
    return tensor;
  }

  /** Gives a held tensor back to the pool. */
  release(tensor: Tensor): void {
    this.#giveBack(tensor.allocation);
  }

  /**
   * Keeps a step tensor beyond its scope, until `unpin` or the end of the step. Kept and uploaded
   * ones stay anyway.
   */
  pin(tensor: Tensor): void {
    this.#pins.add(tensor.allocation);
  }

  /** Takes one pin away; the last one gives the tensor back to the pool if its scope has ended. */
  unpin(tensor: Tensor): void {
    if (this.#pins.drop(tensor.allocation)) this.#activations.give(tensor.allocation);
  }

  /** Fills a tensor with zeros at this point of the step. */
  clear(tensor: Tensor): void {
    this.#scope();
    this.#recorder.commands().clearBuffer(tensor.allocation.buffer, 0, tensor.bytes);
  }

  /** Contents of a step tensor at this point of the step; settles when the step has run. */
  read(tensor: Tensor): Promise<TensorData> {
    this.#scope();
    this.#recorder.refuseInProgram("read: return the tensors");
    return copyOut(tensor, this.#staging, this.#recorder.commands(), this.#reads);
  }

  /**
   * Records `body`, submits it once, and returns the contents of the tensors that it returns.
   * @param program  a step that is always the same: `body` is called in its first run only
   * @throws GpuError  what the device reported about this step, with the kernel's name
   */
  async step(body: () => readonly Tensor[], program?: Program): Promise<TensorData[]> {
    this.#loss.check();
    if (this.#scopes.length > 0) throw new GpuError("a step cannot be opened inside a step");
    const scope: Scope = new Set();
    this.#scopes.push(scope);
    this.device.pushErrorScope("validation");
    let results: Promise<TensorData>[] = [];
    let failure: { readonly error: unknown } | undefined;
    const { timing } = this;
    const record = program ? (): readonly Tensor[] => this.#recorder.run(program, body) : body;
    if (timing) timing.program = program !== undefined;
    try {
      const tensors = timing ? timing.span("encode", record) : record();
      results = tensors.map((tensor) => this.read(tensor));
    } catch (error) {
      failure = { error };
    }
    const reads = this.#reads;
    this.#reads = [];
    try {
      if (timing) timing.span("submit", () => this.#recorder.submit());
      else this.#recorder.submit();
    } catch (error) {
      failure ??= { error };
    } finally {
      this.#scopes.pop();
      for (const allocation of [...scope, ...this.#pins.drain()]) this.#activations.give(allocation);
      for (const allocation of this.#uploaded) this.#uploads.give(allocation);
      this.#uploaded = [];
    }
    const mapped = beginMapping(reads, this.#loss);
    const settled = this.#wait(this.#settle(reads, mapped, this.device.popErrorScope(), failure));
    await (timing ? timing.waiting(settled) : settled);
    return Promise.all(results);
  }

  /**
   * Waits for all submitted work; rejects with what the device reported about compiling or memory.
   */
  async finish(): Promise<void> {
    await this.#loss.explain(this.#wait(this.device.queue.onSubmittedWorkDone()));
    await this.#loss.explain(this.#cache.check());
    await this.#loss.explain(this.#memory.check());
    this.#loss.check();
  }

  /** Whether the device is known to be lost: no call can succeed again. */
  get lost(): boolean {
    return this.#loss.known;
  }

  /** Destroys the free buffers of the pools. */
  trim(): void {
    this.#recorder.forget();
    for (const pool of [this.#activations, this.#uploads, this.#staging]) pool.trim();
  }

  /** Destroys the device and with it every buffer. */
  destroy(): void {
    this.device.destroy();
  }

  /**
   * Hands a step's reads over, or throws what its body or the device said of it; nothing is left
   * for the next step.
   */
  async #settle(
    reads: readonly Readback[],
    mapped: Promise<unknown>,
    reported: Promise<GPUError | null>,
    failure: { readonly error: unknown } | undefined,
  ): Promise<void> {
    const validated = reported.then((error) => {
      if (error) throw new GpuError(error.message);
    });
    const checks = [this.#cache.check(), validated, this.#memory.check()].map((check) =>
      this.#loss.explain(check),
    );
    await handOver(reads, this.#staging, { failure, checks, mapped }, this.timing);
  }

  #scope(): Scope {
    const scope = this.#scopes.at(-1);
    if (!scope) throw new GpuError("tensors are made and kernels run only inside a step");
    return scope;
  }

  #giveBack(allocation: Allocation): void {
    if (!this.#pins.keeps(allocation)) this.#activations.give(allocation);
  }

  #destroy(allocation: Allocation): void {
    this.#cache.forget(allocation.id);
    this.#memory.destroy(allocation);
  }
}

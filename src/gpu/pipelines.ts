import { pinSubgroups } from "./adapter.js";
import { GpuError } from "./errors.js";
import { type Binding, type Dispatch, type Kernel, type Overrides, uniformWindow } from "./kernel.js";
import type { Tensor } from "./tensor.js";

/** A compiled kernel with one set of override values. */
export interface Pipeline {
  readonly id: number;
  readonly kernel: Kernel;
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

/** One dispatch as the device takes it. */
export interface Command {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
  /** What it was made from. */
  readonly kernel: Kernel;
  readonly dispatch: Dispatch;
}

/** Adds a dispatch to a pass. */
export function encode(pass: GPUComputePassEncoder, { pipeline, group, x, y }: Command): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(x, y);
}

/** A bind group with the buffers that it holds. */
interface Group {
  readonly group: GPUBindGroup;
  readonly buffers: readonly number[];
}

const bindingTypes: Readonly<Record<Binding["kind"], GPUBufferBindingType>> = {
  read: "read-only-storage",
  write: "storage",
  uniform: "uniform",
};
const computeStage = 0x04; // GPUShaderStage.COMPUTE, which Node does not have
const usualGroups = 16_384; // a 0.6B model makes 1,500 a clip length

/** Bytes of the uniform window that a dispatch sees. */
export const paramsWindow = 256;

/** Bytes of the uniform buffer: the windows of one submit's dispatches. */
export const paramsBytes = 4096 * paramsWindow;

/** Compiled pipelines and bind groups of one device, made once and found again by key. */
export class PipelineCache {
  readonly #modules = new Map<Kernel, GPUShaderModule>();
  readonly #pipelines = new Map<Kernel, Map<string, Pipeline>>();
  readonly #groups = new Map<string, Group>();
  readonly #groupsOfBuffer = new Map<number, Set<string>>();
  readonly #errors: Promise<void>[] = [];
  /** Whether the size of subgroups is the kernels' to say. */
  readonly #pins: boolean;
  /** Pipelines and bind groups made since the device was opened. */
  readonly made = { pipelines: 0, bindGroups: 0 };

  /**
   * @param mostGroups  bind groups kept at most; past that all are made anew as they are asked for
   */
  constructor(
    private readonly device: GPUDevice,
    private readonly params: GPUBuffer,
    private readonly mostGroups = usualGroups,
  ) {
    this.#pins = device.features.has("subgroup-size-control");
  }

  pipeline(kernel: Kernel, overrides: Overrides): Pipeline {
    let key = "";
    for (const name in overrides) key += `${name}=${overrides[name]};`;
    let variants = this.#pipelines.get(kernel);
    if (!variants) this.#pipelines.set(kernel, (variants = new Map<string, Pipeline>()));
    let pipeline = variants.get(key);
    if (!pipeline) variants.set(key, (pipeline = this.#compile(kernel, overrides)));
    return pipeline;
  }

  /**
   * The key is the buffers and where Params stand: a tensor is bound with its whole buffer, since
   * every kernel takes its sizes from Params (a uniform one with a window of it). So clips of other
   * lengths that land in the same buffers share their bind groups, for as long as they take as many
   * dispatches: one more or less moves the Params of all behind it, whose groups are then made anew.
   * Params at a dynamic offset would need fewer groups, but lavapipe copies the whole group in each
   * dispatch that has one (12 µs of 40).
   * @param offset  of Params, bytes
   */
  bindGroup(pipeline: Pipeline, tensors: Readonly<Record<string, Tensor>>, offset: number): GPUBindGroup {
    const { kernel } = pipeline;
    const limit = this.device.limits.maxStorageBufferBindingSize;
    let key = `${pipeline.id}@${offset}`;
    if (Object.keys(tensors).length > kernel.bindings.length) {
      const unknown = Object.keys(tensors).find((name) => !kernel.bindings.some((b) => b.name === name));
      throw new GpuError(`${kernel.name}: unknown tensor ${unknown ?? ""}`);
    }
    for (const { name } of kernel.bindings) {
      const tensor = tensors[name];
      if (!tensor) throw new GpuError(`${kernel.name}: missing tensor ${name}`);
      if (tensor.bytes > limit) {
        throw new GpuError(
          `${kernel.name}: ${name} [${tensor.shape.join(", ")}] takes ${tensor.bytes} bytes, one storage binding holds ${limit}; use shorter clips or a smaller batch`,
        );
      }
      key += tensor.offset ? `|${tensor.allocation.id}+${tensor.offset}` : `|${tensor.allocation.id}`;
    }
    return (this.#groups.get(key) ?? this.#makeGroup(key, pipeline, tensors, offset)).group;
  }

  /** Bind groups and buffers that the cache holds now. */
  get held(): { readonly bindGroups: number; readonly keys: number } {
    let keys = 0;
    for (const set of this.#groupsOfBuffer.values()) keys += set.size;
    return { bindGroups: this.#groups.size, keys };
  }

  /** Drops the bind groups of a buffer that is about to be destroyed. */
  forget(bufferId: number): void {
    for (const key of this.#groupsOfBuffer.get(bufferId) ?? []) {
      for (const other of this.#groups.get(key)?.buffers ?? []) {
        const keys = this.#groupsOfBuffer.get(other);
        keys?.delete(key);
        if (keys?.size === 0) this.#groupsOfBuffer.delete(other);
      }
      this.#groups.delete(key);
    }
  }

  /** Rejects if any kernel compiled since the last call failed. */
  async check(): Promise<void> {
    await Promise.all(this.#errors.splice(0));
  }

  #makeGroup(
    key: string,
    pipeline: Pipeline,
    tensors: Readonly<Record<string, Tensor>>,
    offset: number,
  ): Group {
    const { kernel } = pipeline;
    if (this.#groups.size >= this.mostGroups) {
      this.#groups.clear();
      this.#groupsOfBuffer.clear();
    }
    const limit = this.device.limits.maxStorageBufferBindingSize;
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: this.params, offset, size: paramsWindow } },
    ];
    const buffers: number[] = [];
    for (const { name, index, kind } of kernel.bindings) {
      const { allocation, offset: from = 0 } = tensors[name];
      const { id, buffer, bytes } = allocation;
      const resource =
        kind === "uniform"
          ? { buffer, offset: from, size: uniformWindow }
          : { buffer, size: Math.min(bytes, limit) };
      entries.push({ binding: index, resource });
      buffers.push(id);
      let keys = this.#groupsOfBuffer.get(id);
      if (!keys) this.#groupsOfBuffer.set(id, (keys = new Set()));
      keys.add(key);
    }
    const group = this.device.createBindGroup({ label: kernel.name, layout: pipeline.layout, entries });
    this.made.bindGroups++;
    const made = { group, buffers };
    this.#groups.set(key, made);
    return made;
  }

  #compile(kernel: Kernel, overrides: Overrides): Pipeline {
    for (const name of Object.keys(overrides)) {
      if (!kernel.overrides.has(name)) throw new GpuError(`${kernel.name}: unknown override ${name}`);
    }
    const { device } = this;
    device.pushErrorScope("validation");
    let module = this.#modules.get(kernel);
    if (!module) {
      module = device.createShaderModule({
        label: kernel.name,
        code: this.#pins ? pinSubgroups(kernel.source) : kernel.source,
      });
      this.#modules.set(kernel, module);
    }
    const layout = device.createBindGroupLayout({
      label: kernel.name,
      entries: [
        {
          binding: 0,
          visibility: computeStage,
          buffer: { type: "uniform" },
        },
        ...kernel.bindings.map(({ index, kind }): GPUBindGroupLayoutEntry => ({
          binding: index,
          visibility: computeStage,
          buffer: { type: bindingTypes[kind] },
        })),
      ],
    });
    const constants = Object.fromEntries(Object.entries(overrides).map(([k, v]) => [k, Number(v)]));
    const pipeline = device.createComputePipeline({
      label: kernel.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main", constants },
    });
    const failed = device.popErrorScope().then((error) => {
      if (!error) return;
      this.#modules.delete(kernel); // so that a second use says the same
      this.#pipelines.delete(kernel);
      throw new GpuError(`${kernel.name}: ${error.message}`);
    });
    failed.catch(() => undefined); // reported by check()
    this.#errors.push(failed);
    this.made.pipelines++;
    return { id: this.made.pipelines, kernel, layout, pipeline };
  }
}

import { GpuError } from "./errors.js";
import type { Kernel, Overrides } from "./kernel.js";
import type { Tensor } from "./tensor.js";

/** A compiled kernel with one set of override values. */
export interface Pipeline {
  readonly id: number;
  readonly kernel: Kernel;
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

/** Bytes of the uniform window that a dispatch sees; the dynamic offset moves it. */
export const paramsWindow = 256;

/** Compiled pipelines and bind groups of one device, made once and found again by key. */
export class PipelineCache {
  readonly #modules = new Map<Kernel, GPUShaderModule>();
  readonly #pipelines = new Map<Kernel, Map<string, Pipeline>>();
  readonly #groups = new Map<string, GPUBindGroup>();
  readonly #groupsOfBuffer = new Map<number, Set<string>>();
  readonly #errors: Promise<void>[] = [];
  /** Pipelines and bind groups made since the device was opened. */
  readonly made = { pipelines: 0, bindGroups: 0 };

  constructor(
    private readonly device: GPUDevice,
    private readonly params: GPUBuffer,
  ) {}

  pipeline(kernel: Kernel, overrides: Overrides): Pipeline {
    let key = "";
    for (const name in overrides) key += `${name}=${overrides[name]};`;
    let variants = this.#pipelines.get(kernel);
    if (!variants) this.#pipelines.set(kernel, (variants = new Map<string, Pipeline>()));
    let pipeline = variants.get(key);
    if (!pipeline) variants.set(key, (pipeline = this.#compile(kernel, overrides)));
    return pipeline;
  }

  bindGroup(pipeline: Pipeline, tensors: Readonly<Record<string, Tensor>>): GPUBindGroup {
    let key = `${pipeline.id}`;
    for (const binding of pipeline.kernel.bindings) {
      const tensor = tensors[binding.name];
      if (!tensor) throw new GpuError(`${pipeline.kernel.name}: missing tensor ${binding.name}`);
      key += `|${tensor.allocation.id}:${tensor.bytes}`;
    }
    return this.#groups.get(key) ?? this.#makeGroup(key, pipeline, tensors);
  }

  /** Drops the bind groups of a buffer that is about to be destroyed. */
  forget(bufferId: number): void {
    for (const key of this.#groupsOfBuffer.get(bufferId) ?? []) this.#groups.delete(key);
    this.#groupsOfBuffer.delete(bufferId);
  }

  /** Rejects if any kernel compiled since the last call failed. */
  async check(): Promise<void> {
    await Promise.all(this.#errors.splice(0));
  }

  #makeGroup(key: string, pipeline: Pipeline, tensors: Readonly<Record<string, Tensor>>): GPUBindGroup {
    const { kernel } = pipeline;
    for (const name of Object.keys(tensors)) {
      if (!kernel.bindings.some((binding) => binding.name === name)) {
        throw new GpuError(`${kernel.name}: unknown tensor ${name}`);
      }
    }
    const limit = this.device.limits.maxStorageBufferBindingSize;
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: this.params, size: paramsWindow } },
    ];
    for (const { name, index } of kernel.bindings) {
      const { allocation, bytes, shape } = tensors[name];
      if (bytes > limit) {
        throw new GpuError(
          `${kernel.name}: ${name} [${shape.join(", ")}] takes ${bytes} bytes, one storage binding holds ${limit}; use shorter clips or a smaller batch`,
        );
      }
      entries.push({ binding: index, resource: { buffer: allocation.buffer, size: Math.max(bytes, 4) } });
      let keys = this.#groupsOfBuffer.get(allocation.id);
      if (!keys) this.#groupsOfBuffer.set(allocation.id, (keys = new Set()));
      keys.add(key);
    }
    const group = this.device.createBindGroup({ label: kernel.name, layout: pipeline.layout, entries });
    this.made.bindGroups++;
    this.#groups.set(key, group);
    return group;
  }

  #compile(kernel: Kernel, overrides: Overrides): Pipeline {
    for (const name of Object.keys(overrides)) {
      if (!kernel.overrides.has(name)) throw new GpuError(`${kernel.name}: unknown override ${name}`);
    }
    const { device } = this;
    device.pushErrorScope("validation");
    let module = this.#modules.get(kernel);
    if (!module) {
      module = device.createShaderModule({ label: kernel.name, code: kernel.source });
      this.#modules.set(kernel, module);
    }
    const layout = device.createBindGroupLayout({
      label: kernel.name,
      entries: [
        {
          binding: 0,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: "uniform", hasDynamicOffset: true },
        },
        ...kernel.bindings.map(({ index, kind }): GPUBindGroupLayoutEntry => ({
          binding: index,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: kind === "write" ? "storage" : "read-only-storage" },
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

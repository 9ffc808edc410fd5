import { expectArgument, hasMethods } from "../arguments.js";

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

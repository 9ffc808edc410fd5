// Of check-gpus.ts: compiles every pipeline on this process's adapter, whose driver writes to stderr what its
// compiler made. Lines around each pipeline name it.
import { countedDevice } from "../../src/gpu/counting.js";
import { requestGpu } from "../../src/kernels/request-gpu.js";
import { requestAdapter } from "../../src/node/device.js";
import { beginLine, chipLine, endLine } from "./stats.js";
import { listPipelines } from "./pipelines.js";

const say = (...words: unknown[]): void => void process.stderr.write(`\n${words.join(" ")}\n`);
const adapter = await requestAdapter({ powerPreference: "high-performance" });
if (!adapter) throw new Error("compile: expected an adapter, got none");
const gpu = await requestGpu(adapter);
say(
  chipLine,
  JSON.stringify({ adapter: adapter.info.description, device: adapter.info.device, lanes: gpu.subgroupSize }),
);
for (const { name, kernel, overrides } of await listPipelines(countedDevice(gpu))) {
  say(beginLine, name);
  gpu.compile(kernel, overrides);
  await gpu.step(() => []).catch((error: unknown) => say("failed", String(error)));
  say(endLine);
}
process.exit(0); // the driver has no GPU to wait for

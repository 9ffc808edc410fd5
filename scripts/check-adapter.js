// Prints the WebGPU adapter and its driver; exit 1 where there is none.
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
const name = process.env.FUNASR_WEBGPU_ADAPTER;
const gpu = create(name ? [`adapter=${name}`] : []);
globalThis.gpu = gpu; // Dawn crashes when it is collected
const adapter = await gpu.requestAdapter().catch(() => null);
if (!adapter) process.exit(1);
const { vendor, architecture, device, description } = adapter.info;
console.error(`WebGPU adapter: ${[vendor, architecture, device, description].filter(Boolean).join(", ")}`);

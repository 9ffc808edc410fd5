// Loaded before a program: SIGUSR2 destroys the WebGPU device that it opened last.
import { globals } from "webgpu";

const { prototype } = globals.GPUAdapter;
const request = prototype.requestDevice;
let newest;
prototype.requestDevice = async function (...args) {
  newest = await request.apply(this, args);
  process.on("SIGUSR2", () => {
    process.stderr.write("device destroyed\n");
    newest.destroy();
  });
  return newest;
};

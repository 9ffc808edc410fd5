import { setMaxListeners } from "node:events";
import { GpuError } from "../../gpu/errors.js";
import { FunasrError, oneLine } from "../../errors.js";
import type { Item } from "../item.js";
import { failureOf } from "./failure.js";
import { type LoadedModels, loadModels } from "./load.js";
import type { Command, LoadSettings, Report } from "./messages.js";
import { nameOf } from "./read.js";
import { ItemWork } from "./transcribe.js";

/**
 * The process of a worker's engine. It ends with the worker; a signal of the terminal reaches it
 * too, and the worker decides what follows.
 */
function report(message: Report): void {
  process.send?.(message, undefined, undefined, () => undefined); // a worker that is gone needs no report
}

const running = new Map<number, AbortController>();
/** Until when a device that failed is reported as lost, ms. */
const LOSS_ANNOUNCED = 200;

async function load(settings: LoadSettings): Promise<LoadedModels | undefined> {
  try {
    const loaded = await loadModels(settings);
    void loaded.gpu.device.lost.then(() => process.exit(1));
    const { device, warnings } = loaded;
    report({ type: "ready", device, warnings });
    return loaded;
  } catch (error) {
    const message = error instanceof FunasrError ? error.message : failureOf(error, settings.model).message;
    report({ type: "refused", message: oneLine(message) });
    return undefined;
  }
}

async function run(models: LoadedModels, id: number, item: Item): Promise<void> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // of every segment that is decoded
  running.set(id, controller);
  try {
    const heard = await new ItemWork(models, item, controller.signal).heard();
    report({ type: "done", id, heard, gpuSeconds: models.busy.seconds });
  } catch (error) {
    if (controller.signal.aborted) return;
    if (error instanceof GpuError) await new Promise((resolve) => setTimeout(resolve, LOSS_ANNOUNCED)); // a lost device ends the process
    report({ type: "failed", id, ...failureOf(error, nameOf(item)) });
  } finally {
    running.delete(id);
  }
}

let models: LoadedModels | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("disconnect", () => process.exit(0));
process.on("message", (command: Command) => {
  if (command.type === "load") void load(command.settings).then((loaded) => (models = loaded));
  else if (command.type === "cancel") running.get(command.id)?.abort();
  else if (models) void run(models, command.id, command.item);
});

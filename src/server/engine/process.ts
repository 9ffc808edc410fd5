import { failureOf } from "./failure.js";
import { EngineHost } from "./host.js";
import { loadModels } from "./load.js";
import type { Command, EngineSettings, Report } from "./messages.js";

/**
 * The engine's process. It takes messages of the server that forked it, and ends with it. A signal
 * of the terminal reaches this process too: the server decides what follows.
 */
function report(message: Report): void {
  process.send?.(message, undefined, undefined, () => undefined); // a server that is gone needs no report
}

async function load(settings: EngineSettings): Promise<EngineHost | undefined> {
  try {
    const loaded = await loadModels(settings);
    void loaded.gpu.device.lost.then(() => process.exit(1));
    report({ type: "ready", about: loaded.about });
    return new EngineHost(loaded, settings.jobs, report);
  } catch (error) {
    const { kind, message } = failureOf(error);
    const text = kind === "internal" && error instanceof Error ? error.message : message;
    report({ type: "refused", message: text });
    return undefined;
  }
}

let host: EngineHost | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("disconnect", () => process.exit(0));
process.on("message", (command: Command) => {
  if (command.type === "load") void load(command.settings).then((made) => (host = made));
  else host?.take(command);
});
